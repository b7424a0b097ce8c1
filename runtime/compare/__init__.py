"""Compare two recordings: `compare(old, new)` gives a verdict.

Bits come first.  Where they differ, the values of kept tensors tell by how much, and sketches
estimate it where no values were kept.
"""

from __future__ import annotations

import math
from pathlib import Path

from fsdp_migrate.runtime.compare.cause import likely_cause
from fsdp_migrate.runtime.compare.communication import compare_collectives
from fsdp_migrate.runtime.compare.cost import compare_cost
from fsdp_migrate.runtime.compare.differences import Aspect, Difference, Gap, Kind, Tally, Tolerance
from fsdp_migrate.runtime.compare.files import compare_files
from fsdp_migrate.runtime.compare.notebook import Band, Notebook
from fsdp_migrate.runtime.compare.text import compare_text
from fsdp_migrate.runtime.compare.training import compare_rank
from fsdp_migrate.runtime.compare.verdict import Cause, Outcome, Verdict
from fsdp_migrate.runtime.record.blame import AFTERMATH
from fsdp_migrate.runtime.verify import recording
from fsdp_migrate.runtime.verify.recording import NoRecording, Recording

__all__ = [
    "Aspect",
    "Cause",
    "Difference",
    "Gap",
    "Kind",
    "NoRecording",
    "Outcome",
    "Tally",
    "Tolerance",
    "Verdict",
    "compare",
    "compare_recordings",
    "failed",
]


def compare(
    old: Path, new: Path, tolerance: Tolerance | None = None, again: Path | None = None
) -> Verdict:
    """Compare the recordings in two folders; `again` is one of the old version, run once more."""
    try:
        repeated = recording.read(again) if again is not None else None
        return compare_recordings(recording.read(old), recording.read(new), tolerance, repeated)
    except NoRecording as error:
        return failed(str(error))


def failed(*messages: str) -> Verdict:
    """The verdict that there is nothing to compare, and why."""
    return Verdict(Outcome.FAILED, tuple(Difference(Aspect.RUN, text) for text in messages))


def compare_recordings(
    old: Recording,
    new: Recording,
    tolerance: Tolerance | None = None,
    again: Recording | None = None,
) -> Verdict:
    """Compare two recordings; `again` is one of the old version, run once more."""
    broken = [*_broken("old", old), *_broken("new", new)]
    if broken:
        return failed(*broken)
    if old.ranks.keys() != new.ranks.keys():
        return failed(f"the new run has the ranks {sorted(new.ranks)}, the old {sorted(old.ranks)}")
    tolerance = tolerance or Tolerance()
    book = Notebook(tolerance, _band(old, again))
    for number in old.ranks:
        compare_rank(book, old, new, number)
        before, after = old.ranks[number], new.ranks[number]
        if len(old.ranks) > 1:  # one rank talks to itself, if at all
            compare_collectives(book, number, before.steps, after.steps)
    if book.tolerance.stdout:
        _compare_words(book, old, new, again)
    if book.tolerance.files:
        compare_files(book, old.files, new.files, again.files if again is not None else None)
    compare_cost(book, old, new)
    _compare_headers(book, old, new)
    differences = book.differences()
    tallies = {aspect: book.tallies[aspect] for aspect in Aspect if aspect in book.tallies}
    close = any(tally.tolerated for tally in tallies.values())
    outcome = Outcome.CLOSE if close else Outcome.IDENTICAL
    cause = likely_cause(old, new, differences)
    if differences and book.needed and book.needed <= _ROUNDING and not (cause and cause.coherent):
        book.note(f"with --rtol {upwards(book.needed)}, this would be close")
    return Verdict(
        outcome=Outcome.DIFFERENT if differences else outcome,
        differences=differences,
        tallies=tallies,
        steps=max(len(rank.steps) for rank in old.ranks.values()),
        ranks=len(old.ranks),
        cause=cause,
        notes=tuple(book.notes),
        within="" if not close else tolerance.words(by_band=book.by_band),
    )


def _broken(which: str, run: Recording) -> list[str]:
    """Why a recording proves nothing."""
    problems, silent = [], []
    world = max(rank.header.world for rank in run.ranks.values())
    lost = sorted(set(range(world)) - run.ranks.keys())
    if lost:
        silent.append(f"the {which} run has no recording of rank {lost[0]} of {world}")
    for number, rank in run.ranks.items():
        done = f"after {len(rank.steps)} optimizer steps"
        if rank.end is None:
            silent.append(f"rank {number} of the {which} run did not end: it stopped {done}")
        elif rank.end.error is not None:
            problems.append(f"rank {number} of the {which} run failed {done}: {rank.end.error}")
    if not problems + silent and not any(rank.steps for rank in run.ranks.values()):
        problems.append(f"the {which} run took no optimizer step")
    telling = [text for text in problems if not AFTERMATH.search(text)]
    return [*(telling or problems), *silent]


_ROUNDING = 1e-2  # relative differences that a tolerance may be meant for


def _band(old: Recording, again: Recording | None) -> Band:
    """How far the old version is apart from itself."""
    if again is None or old.ranks.keys() != again.ranks.keys():
        return {}
    book = Notebook(Tolerance())
    for number in old.ranks:
        compare_rank(book, old, again, number)
    return book.band()


def upwards(number: float) -> str:
    """A number with one digit that is no smaller."""
    exponent = math.floor(math.log10(number))
    digit = math.ceil(number / 10.0**exponent - 1e-9)
    return f"{digit * 10.0**exponent:.0e}"


def _compare_words(book: Notebook, old: Recording, new: Recording, again: Recording | None) -> None:
    for number in old.ranks:
        known = again if again is not None and number in again.ranks else None
        where = f"rank {number}"
        once_more = known.printed(number) if known is not None else None
        said = old.printed(number), new.printed(number)
        compare_text(book, Aspect.STDOUT, where, *said, once_more)
        before, after = old.complained(number), new.complained(number)
        if before is None or after is None:
            continue
        once_more = known.complained(number) if known is not None else None
        compare_text(book, Aspect.STDERR, f"{where} (stderr)", before, after, once_more)


def _compare_headers(book: Notebook, old: Recording, new: Recording) -> None:
    for number in old.ranks:
        a, b = old.ranks[number].header, new.ranks[number].header
        for what in ("torch", "python", "device", "deterministic"):
            x, y = getattr(a, what), getattr(b, what)
            if x != y:
                book.note(f"the runs have different {what}: {x} and {y}")
    for run in (old, new):
        for rank in run.ranks.values():
            for note in rank.end.notes if rank.end else ():
                book.note(note)
