"""What the migration changed, hunk by hunk, with the findings behind each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT = 3


@dataclass(frozen=True)
class Site:
    """A finding of the migration."""

    line: int  # in the old file
    code: str
    message: str
    tier: str
    anchor: str = ""  # its name on the page


@dataclass(frozen=True)
class Hunk:
    """Changed lines with their surroundings; the sign is " ", "-" or "+"."""

    heading: str
    lines: tuple[tuple[str, str], ...]
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class FileChange:
    """A file and what was changed in it; sites that changed nothing come last."""

    path: str
    hunks: tuple[Hunk, ...]
    rest: tuple[Site, ...] = ()

    @property
    def sites(self) -> tuple[Site, ...]:
        """All findings in the file."""
        return (*(site for hunk in self.hunks for site in hunk.sites), *self.rest)


def changes(
    old: Path, new: Path, findings: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> tuple[FileChange, ...]:
    """The changes of the files `names`, and of every file with a finding, below two folders."""
    paths = sorted({*names, *(str(finding["path"]) for finding in findings)})
    numbered = [{**finding, "anchor": f"site{n}"} for n, finding in enumerate(findings)]
    return tuple(_change(old / path, new / path, path, numbered) for path in paths)


def _change(old: Path, new: Path, path: str, findings: Sequence[Mapping[str, Any]]) -> FileChange:
    sites = [
        Site(int(f["line"]), str(f["code"]), str(f["message"]), str(f["tier"]), str(f["anchor"]))
        for f in findings
        if f["path"] == path
    ]
    before, after = _lines(old), _lines(new)
    hunks, used = [], set[int]()
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for group in matcher.get_grouped_opcodes(CONTEXT):
        first, last = group[0][1], group[-1][2]
        here = [site for site in sites if first < site.line <= last]
        used.update(map(id, here))
        lines = [line for opcode in group for line in _hunk_lines(opcode, before, after)]
        hunks.append(Hunk(f"lines {first + 1} to {last}", tuple(lines), tuple(here)))
    rest = tuple(site for site in sites if id(site) not in used)
    return FileChange(path, tuple(hunks), rest)


def _hunk_lines(
    opcode: tuple[str, int, int, int, int], before: Sequence[str], after: Sequence[str]
) -> list[tuple[str, str]]:
    kind, a, b, c, d = opcode
    if kind == "equal":
        return [(" ", line) for line in before[a:b]]
    return [*(("-", line) for line in before[a:b]), *(("+", line) for line in after[c:d])]


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.is_file() else []
