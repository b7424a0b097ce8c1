"""The answer to the question whether two recorded runs train identically, and how it is put."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from fsdp_migrate.runtime.compare.differences import Aspect, Difference, Tally

SHOWN = 3  # differences of an aspect


class Outcome(Enum):
    """What a comparison came to."""

    IDENTICAL = "identical"  # not one bit differs
    CLOSE = "close"  # what differs is within the tolerances that were asked for
    DIFFERENT = "different"
    FAILED = "failed"  # one of the runs cannot be compared


_HEADLINES = {
    Outcome.IDENTICAL: "IDENTICAL: both versions train bit for bit the same",
    Outcome.CLOSE: "CLOSE: both versions train the same",
    Outcome.DIFFERENT: "DIFFERENT: the versions do not train the same",
    Outcome.FAILED: "NOT PROVEN: the two versions could not be compared",
}


@dataclass(frozen=True)
class Cause:
    """The migration site that most likely explains the first divergence."""

    title: str
    explanation: str
    codes: tuple[str, ...] = ()  # rules that migrate such sites
    coherent: bool = False  # all values are off together: no rounding, however small


@dataclass(frozen=True)
class Verdict:
    """Whether two runs train identically, and if not, where they part first."""

    outcome: Outcome
    differences: tuple[Difference, ...] = ()
    tallies: Mapping[Aspect, Tally] = field(default_factory=dict)
    steps: int = 0
    ranks: int = 0
    cause: Cause | None = None
    notes: tuple[str, ...] = ()
    within: str = ""  # what was tolerated, of what is close

    @property
    def identical(self) -> bool:
        """Whether not one bit differs."""
        return self.outcome is Outcome.IDENTICAL

    @property
    def passed(self) -> bool:
        """Whether the runs are identical, or as close as was asked for."""
        return self.outcome in (Outcome.IDENTICAL, Outcome.CLOSE)

    @property
    def first(self) -> Difference | None:
        """The first divergence."""
        return self.differences[0] if self.differences else None

    def __bool__(self) -> bool:
        return self.passed

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        extent = f" ({_count(self.steps, 'step')} on {_count(self.ranks, 'rank')})"
        within = f" within {self.within}" if self.within and self.passed else ""
        return _HEADLINES[self.outcome] + within + (extent if self.steps else "")

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def _lines(verdict: Verdict) -> Iterator[str]:
    yield verdict.headline
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
    """The first differences of each aspect; what ranks have in common is said once."""
    alike: dict[tuple[object, ...], list[Difference]] = {}
    for difference in differences:
        place = difference.aspect, difference.step, difference.name or difference.message
        own = difference.message if difference.rank is None else ""
        alike.setdefault((*place, difference.kind, own), []).append(difference)
    shown: Counter[Aspect] = Counter()
    hidden = 0
    for same in alike.values():
        aspect = same[0].aspect
        if shown[aspect] < limit:
            shown[aspect] += 1
            others = sorted({str(d.rank) for d in same[1:] if d.rank != same[0].rank}, key=int)
            yield f"  - {same[0]}{_too(others)}"
        else:
            hidden += len(same)
    if hidden:
        yield f"  - … and {hidden} more"


def _too(ranks: Sequence[str]) -> str:
    if not ranks:
        return ""
    named = ", ".join(ranks[:4]) + (" …" if len(ranks) > 4 else "")
    return f" (and rank{'s' if len(ranks) > 1 else ''} {named})"


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
