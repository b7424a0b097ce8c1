"""Holds the time and the memory of a step to what may be added."""

from __future__ import annotations

import statistics

from fsdp_migrate.runtime.compare.differences import Aspect, Difference
from fsdp_migrate.runtime.compare.notebook import Notebook
from fsdp_migrate.runtime.verify.recording import NoRecording, Rank, Recording


def compare_cost(book: Notebook, old: Recording, new: Recording) -> None:
    """Compare what was asked for; what was not measured cannot be held."""
    for what, limit, measure, unit in (
        ("a step", book.tolerance.slowdown, _seconds, "s"),
        ("the peak of memory", book.tolerance.memory_growth, _memory, "bytes"),
    ):
        if limit is None:
            continue
        for number, rank in old.ranks.items():
            before, after = measure(rank), measure(new.ranks[number])
            if after <= before * (1 + limit):
                book.same(Aspect.COST)
                continue
            grown = f"{after / before - 1:.0%} more" if before else "more"
            message = f"{what} takes {after:.4g} {unit} instead of {before:.4g}: {grown}"
            book.differs(Difference(Aspect.COST, message, number, name=what))


def _seconds(rank: Rank) -> float:
    """The median step; the first one starts things up."""
    steps = rank.steps[1:] or rank.steps
    return statistics.median(step.seconds for step in steps) if steps else 0.0


def _memory(rank: Rank) -> float:
    peaks = [step.peak_memory for step in rank.steps]
    if not peaks or None in peaks:
        raise NoRecording("the peak of memory is measured on GPUs alone: leave out its limit")
    return max(peak for peak in peaks if peak is not None)
