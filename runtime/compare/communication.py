"""Compares the collectives of two ranks, and what a step takes.

What checkpoints gather is counted, and shown in reports, but not compared.  Neither its order nor
its bytes have to agree where both versions are right.  Measured for a model of 3 units and 12
parameters of 3696 bytes a rank: whole tensors are gathered 3 times by FSDP1, 12 times by FSDP2, of
as many bytes; sharded ones 21 times by FSDP1, which cuts them again, and not at all by FSDP2; the
state of an optimizer 6 times, or 24 times of as many bytes; and what is loaded is cut by each rank
of FSDP1, or scattered 12 times by the first one.  What can go wrong in it shows elsewhere: a rank
that is left out hangs, and what isn't gathered is missing in the files that are compared.  That it
is never more bytes is held for made-up programs (`tests/support/fuzz/judgement.py`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from fsdp_migrate.runtime.compare.differences import Aspect, Difference
from fsdp_migrate.runtime.compare.notebook import Notebook
from fsdp_migrate.runtime.verify.recording import Step

# What sharding does; other collectives are metrics, norms, checkpoints.
SHARDING = (
    "forward all-gather",
    "backward all-gather",
    "backward reduce-scatter",
    "backward all-reduce",
)
# Flat and per-parameter layouts pad differently.
_REDUCTIONS = ("backward reduce-scatter", "backward all-reduce")
_RATIO, _PADDING = 1.25, 64


def medians(steps: Sequence[Step]) -> dict[str, tuple[float, float]]:
    """Count and bytes of the median step, so that an evaluation in between does not count."""
    kinds = sorted({kind for step in steps for kind in step.collectives})
    return {
        kind: (
            statistics.median(step.collectives.get(kind, (0, 0))[0] for step in steps),
            statistics.median(step.collectives.get(kind, (0, 0))[1] for step in steps),
        )
        for kind in kinds
    }


def compare_collectives(
    book: Notebook, rank: int, old: Sequence[Step], new: Sequence[Step]
) -> None:
    """Compare number and size of the collectives of sharding, by phase."""
    rule = book.tolerance.collectives
    if rule == "skip" or not old or not new:
        return
    a, b = medians(old), medians(new)
    if rule == "bytes":
        _compare_volume(book, rank, a, b)
        return
    frozen = _frozen_bytes(old[0])
    for kind in SHARDING:
        (n, x), (m, y) = a.get(kind, (0, 0)), b.get(kind, (0, 0))
        slack = _PADDING * max(n, 1)
        # a flat parameter reduces zeros for its frozen parts, FSDP2 leaves them out
        spared = frozen if kind in _REDUCTIONS else 0
        if n == m and x / _RATIO - slack - spared <= y <= x * _RATIO + slack:
            book.same(Aspect.COLLECTIVES)
        else:
            if _asked_for(kind, a, b):
                book.same(Aspect.COLLECTIVES)
                continue
            phase, name = kind.split()
            message = (
                f"{m:g} {name}s of {y:g} bytes in {phase} per step instead of {n:g} of {x:g} bytes"
            )
            book.differs(Difference(Aspect.COLLECTIVES, message, rank, name=kind))


def _asked_for(
    kind: str, old: dict[str, tuple[float, float]], new: dict[str, tuple[float, float]]
) -> bool:
    """Whether one version asks for what the other one gathers by itself: `model.unshard()`."""
    if kind != "forward all-gather":
        return False
    counts = [
        sum(means.get(key, (0, 0))[0] for key in (kind, "aside all-gather")) for means in (old, new)
    ]
    return counts[0] == counts[1]


def _frozen_bytes(step: Step) -> int:
    prints = [step.parameters.get(name) for name in step.frozen]
    return sum(4 * math.prod(p.shape) for p in prints if p is not None)


def _compare_volume(
    book: Notebook,
    rank: int,
    old: dict[str, tuple[float, float]],
    new: dict[str, tuple[float, float]],
) -> None:
    before, after = (sum(m.get(kind, (0, 0))[1] for kind in SHARDING) for m in (old, new))
    if before / _RATIO <= after <= before * _RATIO:
        book.same(Aspect.COLLECTIVES)
    else:
        message = f"{after:g} bytes are communicated per step instead of {before:g}"
        book.differs(Difference(Aspect.COLLECTIVES, message, rank, name="bytes"))
