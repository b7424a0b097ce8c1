"""Findings as people read them on a terminal: each with its line of source, and a mark below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsdp_migrate.findings.finding import Finding
from fsdp_migrate.syntax.printable import printable

Lines = Callable[[Path], list[str] | None]  # of a file, without their ends; None: it has none

_WORD = re.compile(r"[\w.]*\w")
_START = re.compile(r"^( *)(\S.*?:\d+:\d+) (FSDP\d+)( \[unsafe\])?")
_TAB = 4
_ELLIPSIS = "..."


@dataclass(frozen=True)
class Terminal:
    """What findings are printed for."""

    width: int = 100
    colour: bool = False

    def painted(self, text: str, code: str) -> str:
        """`text` in a colour, if there are any."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


def with_excerpts(
    entries: Iterable[tuple[str, Finding | None]], lines: Lines, terminal: Terminal
) -> Iterator[str]:
    """The lines of a report: what is said of each finding, and its place in the source.

    A place that is spoken of twice in a row is shown once; so is what waits for another place.
    """
    shown: tuple[Path, int] | None = None
    for said, item in entries:
        place = None if item is None else (item.path, item.line)
        again = place == shown
        yield from [""] if shown is not None and not again and item is not None else []
        yield _START.sub(lambda match: _painted(match, terminal), said)
        if item is not None and not again:
            yield from _excerpt(item, lines(item.path), terminal)
            shown = place


def marked_length(lines: list[str] | None, item: Finding) -> int:
    """How many characters a finding is about: those of a name; 0, if that can't be told."""
    if lines is None or not 0 < item.line <= len(lines):
        return 0
    word = _WORD.match(lines[item.line - 1], item.col - 1)
    return len(word[0]) if word else 0


def _painted(match: re.Match[str], terminal: Terminal) -> str:
    where, code = terminal.painted(match[2], "1"), terminal.painted(match[3], "36")
    return f"{match[1]}{where} {code}{terminal.painted(match[4] or '', '33')}"


def _excerpt(item: Finding, lines: list[str] | None, terminal: Terminal) -> Iterator[str]:
    """The line that a finding is about, with a mark below what it is about."""
    if lines is None or not 0 < item.line <= len(lines):
        return
    line = lines[item.line - 1]
    if not line.strip():
        return
    start = min(item.col - 1, len(line))
    word = _WORD.match(line, start)
    before = _shown(line[:start])
    marked = _shown(word[0] if word else line[start : start + 1]) or " "
    text = before + marked + _shown(line[word.end() if word else start + 1 :])
    number = str(item.line)
    gutter = terminal.painted(f"{number} | ", "34")
    below = terminal.painted(f"{' ' * len(number)} | ", "34")
    room = max(terminal.width - len(number) - 3, 20)
    cut = _window(len(text), len(before), len(marked), room)
    yield f"{gutter}{_ELLIPSIS if cut else ''}{_fitted(text[cut:], room - 3 * bool(cut))}"
    column = len(before) - cut + 3 * bool(cut)
    mark = "^" * max(min(len(marked), room - column), 1)
    yield f"{below}{' ' * column}{terminal.painted(mark, '31')}"


def _window(length: int, start: int, marked: int, room: int) -> int:
    """How much of a long line is left out in front, so that what is marked can be seen."""
    if length <= room or start + marked <= room - 3:
        return 0
    return max(start - room // 3, 0)


def _fitted(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - len(_ELLIPSIS)] + _ELLIPSIS


def _shown(text: str) -> str:
    """A part of a line with nothing in it that a terminal would obey."""
    return printable(text.replace("\t", " " * _TAB))
