"""A verdict in words, for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from fsdp_migrate.runtime.compare.verdict import Aspect, Difference, Outcome, Tally, Verdict

SHOWN = 3  # differences of an aspect

_HEADLINES = {
    Outcome.IDENTICAL: "IDENTICAL: both versions train bit for bit the same",
    Outcome.CLOSE: "CLOSE: both versions train the same within the tolerances",
    Outcome.DIFFERENT: "DIFFERENT: the versions do not train the same",
    Outcome.FAILED: "FAILED: there is nothing to compare",
}


def in_words(verdict: Verdict) -> str:
    """The whole verdict as lines of text."""
    return "\n".join(_lines(verdict))


def headline(verdict: Verdict) -> str:
    """The verdict in one line."""
    extent = f" ({_count(verdict.steps, 'step')} on {_count(verdict.ranks, 'rank')})"
    return _HEADLINES[verdict.outcome] + (extent if verdict.steps else "")


def _lines(verdict: Verdict) -> Iterator[str]:
    yield headline(verdict)
    if verdict.first is not None and verdict.outcome is Outcome.DIFFERENT:
        yield f"first divergence: {verdict.first}"
    if verdict.cause is not None:
        codes = f" ({', '.join(verdict.cause.codes)})" if verdict.cause.codes else ""
        yield f"likely cause: {verdict.cause.title}{codes}"
        yield f"  {verdict.cause.explanation}"
    for aspect, tally in verdict.tallies.items():
        yield f"  {aspect.value:<16} {_tally(aspect, tally)}"
    rest = verdict.differences[1 if verdict.outcome is Outcome.DIFFERENT else 0 :]
    yield from _list(rest, SHOWN if verdict.outcome is not Outcome.FAILED else len(rest))
    for note in verdict.notes:
        yield f"  note: {note}"


def _list(differences: Sequence[Difference], limit: int) -> Iterator[str]:
    """The first differences of each aspect; those of other ranks are much the same."""
    shown: Counter[Aspect] = Counter()
    for difference in differences:
        if shown[difference.aspect] < limit and not difference.rank:
            shown[difference.aspect] += 1
            yield f"  - {difference}"
    hidden = len(differences) - shown.total()
    if hidden:
        yield f"  - … and {hidden} more"


def _tally(aspect: Aspect, tally: Tally) -> str:
    if tally.exact:
        return f"{tally.compared} compared, all the same"
    parts = [f"{tally.compared} compared"]
    if tally.different:
        parts.append(f"{tally.different} different")
    if tally.tolerated:
        parts.append(f"{tally.tolerated} within tolerance")
    if tally.worst:
        parts.append(f"by up to {tally.worst:.1e}")
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
