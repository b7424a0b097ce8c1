"""What a divergence means if the old version diverges from itself."""

from __future__ import annotations

from dataclasses import replace

from fsdp_migrate.runtime.compare.differences import Aspect, Difference
from fsdp_migrate.runtime.compare.notebook import when
from fsdp_migrate.runtime.compare.verdict import Cause, Verdict

_ROUNDING = 1e-3  # what kernels that add in any order may do to a first loss


def unrepeatable(verdict: Verdict, control: Difference) -> Verdict:
    """The verdict, knowing the first difference between two runs of the old version."""
    words = f"the old version, run twice, differs from itself: {control}"
    if when(control)[:2] > when(verdict.differences[0])[:2]:
        return replace(verdict, notes=(*verdict.notes, words))
    title = "the old version does not repeat itself"
    far = control.gap is not None and control.gap.max_rel > _ROUNDING
    if control.aspect is Aspect.RANDOM or (
        control.aspect is Aspect.LOSS and not control.step and far
    ):
        title = f"the program is not seeded: {title}"
    cause = Cause(
        title,
        f"Run twice, it differs from itself: {control}.  Seed every generator, choose "
        "deterministic kernels (torch.use_deterministic_algorithms), leave out what changes with "
        "every run (--ignore-line, --no-files), or allow for it (--rtol).",
    )
    return replace(verdict, cause=cause)
