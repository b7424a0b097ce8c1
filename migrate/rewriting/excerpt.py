"""The statements of a file that edits are about, without the others: LibCST takes long for those.

An excerpt is a program of its own: the first statement with all that stands above it, each
statement of the module that an edit touches, and the one below that, to which comments can fall
when what is above it goes; and the first one with a block, whose indentation new code takes.  What
lies between is one line, a placeholder.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fsdp_migrate.findings.edits import Edit, MoveStatement, kept_by
from fsdp_migrate.syntax.nodes import nodes_in

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_PLACEHOLDER = "__left_out_{}__"
_PLACEHOLDERS = re.compile(r"^__left_out_(\d+)__(?:\r\n|\r|\n)", re.MULTILINE)


@dataclass(frozen=True)
class Excerpt:
    """A part of a file: its text, what was left out, and where its lines come from."""

    text: str
    left_out: tuple[str, ...]
    firsts: tuple[int, ...]  # the lines on which its parts begin
    shifts: tuple[int, ...]  # by how much those of each part are further down in the file

    def line(self, number: int) -> int:
        """The line of the file that a line of the excerpt is."""
        return number + self.shifts[bisect_right(self.firsts, number) - 1]

    def put_back(self, changed: str) -> str:
        """The file, with `changed` in the place of the excerpt."""
        return _PLACEHOLDERS.sub(lambda found: self.left_out[int(found[1])], changed)


def excerpt_for(text: str, edits: Iterable[Edit]) -> Excerpt:
    """The part of `text` that LibCST has to see, to make `edits`."""
    tree = ast.parse(text)
    lines = _LINE.findall(text)
    starts = _starts(tree, lines)
    wanted = {0, _first_indented(tree, starts), *_touched(starts, edits)}
    ends = [*starts[1:], len(lines) + 1]
    parts: list[str] = []
    left_out: list[str] = []
    firsts, shifts = [1], [0]
    number = 1
    skipped: list[str] = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        own = lines[start - 1 : end - 1]
        if index not in wanted:
            skipped += own
            continue
        if skipped:
            parts.append(_PLACEHOLDER.format(len(left_out)) + _newline(lines))
            left_out.append("".join(skipped))
            skipped = []
            number += 1
            firsts.append(number)
            shifts.append(start - number)
        parts += own
        number += len(own)
    if skipped:
        parts.append(_PLACEHOLDER.format(len(left_out)) + _newline(lines))
        left_out.append("".join(skipped))
    return Excerpt("".join(parts), tuple(left_out), tuple(firsts), tuple(shifts))


def _starts(tree: ast.Module, lines: Sequence[str]) -> list[int]:
    """The line that each statement of the module begins on, with what stands above it.

    Statements on one line are one.  A comment that is indented belongs to the block above it.
    """
    starts = [1]
    for above, below in zip(tree.body, tree.body[1:], strict=False):
        end = above.end_lineno or above.lineno
        first = min([below.lineno, *(d.lineno for d in getattr(below, "decorator_list", []))])
        if first <= end:
            continue
        between = range(end + 1, first)
        indented = [n for n in between if lines[n - 1][:1] in " \t\f" and "#" in lines[n - 1]]
        starts.append(max([end, *indented]) + 1)
    return starts


def _touched(starts: Sequence[int], edits: Iterable[Edit]) -> Iterator[int]:
    """The statements of the module that edits touch, and those below them."""
    for edit in edits:
        moves = [edit.below] if isinstance(edit, MoveStatement) else []
        for span in (edit.span, *moves, *kept_by(edit)):
            first = bisect_right(starts, span.line) - 1
            last = bisect_right(starts, span.end_line) - 1
            yield from range(first, last + 2)


def _first_indented(tree: ast.Module, starts: Sequence[int]) -> int:
    """The first statement with a block: what LibCST takes the file's indentation from."""
    for top in tree.body:
        for node in nodes_in(top):
            if isinstance(node, ast.stmt) and node.lineno > top.lineno:
                return bisect_right(starts, top.lineno) - 1
    return 0


def _newline(lines: Sequence[str]) -> str:
    """How the first line ends."""
    return lines[0][len(lines[0].rstrip("\r\n")) :] or "\n"
