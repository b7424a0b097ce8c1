"""What a migration did, ordered for a review: what is left to do, then each file, hunk by hunk."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Place, Safety, Tier

CONTEXT = 3
Lines = Callable[[Path], list[str] | None]  # of a file as it was, without their ends


@dataclass(frozen=True)
class Hunk:
    """Changed lines of a file with their surroundings, and the findings about them."""

    heading: str
    lines: tuple[tuple[str, str], ...]  # the sign, " ", "-" or "+", and the text
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class FilePage:
    """A file: its hunks, and the findings about lines that don't change."""

    path: Path
    hunks: tuple[Hunk, ...]
    others: tuple[Finding, ...]


@dataclass(frozen=True)
class Task:
    """Something that is left to a person, and what waits for it."""

    finding: Finding
    waiting: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that is said of a migration."""

    title: str
    tasks: tuple[Task, ...]
    files: tuple[FilePage, ...]
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many findings there are of each kind."""
        tiers = [(tier.value, sum(f.tier is tier for f in self.findings)) for tier in Tier]
        unsafe = sum(item.safety is Safety.UNSAFE for item in self.findings)
        changed = sum(bool(page.hunks) for page in self.files)
        return [("files that change", changed), *tiers, ("unsafe", unsafe)]


def report_of(
    title: str, findings: Sequence[Finding], changes: Mapping[Path, str], lines: Lines
) -> Report:
    """The report of a migration."""
    held: dict[Place, list[Finding]] = defaultdict(list)
    for item in findings:
        if item.held_by is not None:
            held[item.held_by].append(item)
    manual = [item for item in findings if item.tier is Tier.MANUAL and item.held_by is None]
    tasks = [Task(item, tuple(held.get(item.place, ()))) for item in manual]
    paths = sorted({*changes, *(item.path for item in findings)})
    return Report(
        title,
        tuple(sorted(tasks, key=lambda task: -len(task.waiting))),
        tuple(_page(path, findings, changes.get(path), lines) for path in paths),
        tuple(findings),
    )


def _page(path: Path, findings: Sequence[Finding], text: str | None, lines: Lines) -> FilePage:
    own = [item for item in findings if item.path == path]
    if text is None:
        return FilePage(path, (), tuple(own))
    old, new = lines(path) or [], text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    hunks = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(
        CONTEXT
    ):
        first, last = group[0][1] + 1, group[-1][2]
        about = tuple(item for item in own if first <= item.line <= last)
        own = [item for item in own if item not in about]
        heading = f"lines {first} to {last}" if last > first else f"line {first}"
        shown: list[tuple[str, str]] = []
        for kind, old_from, old_to, new_from, new_to in group:
            if kind == "equal":
                shown += [(" ", line) for line in old[old_from:old_to]]
                continue
            shown += [("-", line) for line in old[old_from:old_to]]
            shown += [("+", line) for line in new[new_from:new_to]]
        hunks.append(Hunk(heading, tuple(shown), about))
    return FilePage(path, tuple(hunks), tuple(own))
