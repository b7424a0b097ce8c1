"""What a divergence means if the old version diverges from itself."""

from __future__ import annotations

from dataclasses import replace

from fsdp_migrate.runtime.compare.differences import Difference
from fsdp_migrate.runtime.compare.notebook import when
from fsdp_migrate.runtime.compare.verdict import Cause, Verdict


def unrepeatable(verdict: Verdict, control: Difference) -> Verdict:
    """The verdict, knowing the first difference between two runs of the old version."""
    words = f"the old version, run twice, differs from itself: {control}"
    if when(control)[:2] > when(verdict.differences[0])[:2]:
        return replace(verdict, notes=(*verdict.notes, words))
    cause = Cause(
        "the old version does not repeat itself",
        f"Run twice, it differs from itself: {control}.  Seed every generator, choose "
        "deterministic kernels (torch.use_deterministic_algorithms), leave out what changes with "
        "every run (--ignore-line, --no-files), or allow for it (--rtol).",
    )
    return replace(verdict, cause=cause)
