"""The Python in a notebook: its code cells as one program, and where each line of it stands."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass

_LINE = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_MAGIC = re.compile(r"[ \t]*(?:%|!|\?)|[ \t]*[\w.]+\?\??[ \t]*$|[ \t]*[\w, ]+=[ \t]*(?:!|%)")


@dataclass(frozen=True)
class Notebook:
    """The program that a notebook is, and the lines of its file, from 1, that its lines are in.

    `shell` are the lines that are handed to a shell, `unread` those of cells that are no Python.
    """

    program: str
    lines: tuple[int, ...]
    shell: tuple[tuple[int, str], ...] = ()
    unread: tuple[tuple[int, str], ...] = ()

    def line(self, number: int) -> int:
        """The line of the file that a line of the program stands in."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else 1


class NotebookError(ValueError):
    """The text is no notebook, or one of another time."""


def read_notebook(text: str) -> Notebook:
    """The code cells of a notebook; one that is no Python counts for nothing.

    Raises:
        NotebookError: it is no notebook.
    """
    try:
        data = json.loads(text)
        cells = data["cells"] if "cells" in data else data["worksheets"][0]["cells"]
        sources = [_source(cell) for cell in cells if cell.get("cell_type") == "code"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise NotebookError("no notebook") from error
    return _program(sources, _Places(text))


def _source(cell: dict[str, object]) -> list[str]:
    source = cell.get("source", cell.get("input", ""))
    text = "".join(source) if isinstance(source, list) else str(source)
    return text.splitlines()


class _Places:
    """Where the strings of a notebook stand that hold its lines, found in order."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, list[int]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            for match in _LINE.finditer(line):
                self._note(match[0], number)
        self._last = 1

    def _note(self, quoted: str, number: int) -> None:
        try:
            held = str(json.loads(quoted, strict=False))
        except ValueError:
            return
        for part in held.splitlines():
            self._lines.setdefault(part, []).append(number)

    def of(self, line: str) -> int:
        """The line of the file where the next such line of code stands."""
        found = [number for number in self._lines.get(line, ()) if number >= self._last]
        if line.strip() and found:
            self._last = found[0]
        return self._last


def _program(cells: list[list[str]], places: _Places) -> Notebook:
    program: list[str] = []
    numbers: list[int] = []
    shell: list[tuple[int, str]] = []
    unread: list[tuple[int, str]] = []
    for cell in cells:
        at = [places.of(line) for line in cell]
        first = next((line for line in cell if line.strip()), "")
        if first.startswith("%%") and not first.startswith(("%%time", "%%capture", "%%writefile")):
            shell += zip(at, cell, strict=True)
            continue
        plain = [_plain(line) for line in cell]
        shell += [
            (n, line.lstrip(" \t!%")) for n, line in zip(at, cell, strict=True) if _is_shell(line)
        ]
        if _is_python("\n".join(plain)):
            program += plain
            numbers += at
        else:
            unread += zip(at, cell, strict=True)
    return Notebook("\n".join([*program, ""]), tuple(numbers), tuple(shell), tuple(unread))


def _plain(line: str) -> str:
    """A line of a cell as Python; nothing is done where IPython is told something."""
    if _MAGIC.match(line) is None:
        return line
    return f"{line[: len(line) - len(line.lstrip())]}pass"


def _is_shell(line: str) -> bool:
    return line.lstrip().startswith(("!", "%env", "%sx", "%system"))


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True
