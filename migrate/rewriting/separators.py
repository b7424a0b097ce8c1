"""What stands between the arguments of a call: taken out and put in without a trace.

A row is its arguments, without their commas, and the gaps around them: the blanks, line ends and
comments behind the opening bracket, behind each comma, and before the closing bracket.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import libcst as cst

from fsdp_migrate.rewriting.comments import without

Gap = cst.BaseParenthesizableWhitespace
NO_GAP = cst.SimpleWhitespace("")
BLANK = cst.SimpleWhitespace(" ")
Node = TypeVar("Node", bound=cst.CSTNode)


@dataclass
class Entry(Generic[Node]):
    """An argument, and the blanks between it and its comma."""

    node: Node
    before_comma: Gap = NO_GAP


@dataclass
class Row(Generic[Node]):
    """The arguments of a call, or the items of a display."""

    entries: list[Entry[Node]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=lambda: [NO_GAP])  # one more than there are entries
    comma: bool = False  # behind the last one

    @classmethod
    def of(cls, nodes: Sequence[Node], opening: Gap, closing: Gap) -> Row[Node]:
        """The row of nodes that have a field `comma`, between the gaps at the brackets."""
        row = cls(gaps=[opening])
        if not nodes:
            row.gaps = [opening if not opening.empty else closing]
        for node in nodes:
            comma = getattr(node, "comma", None)
            row.comma = isinstance(comma, cst.Comma)
            before = comma.whitespace_before if isinstance(comma, cst.Comma) else NO_GAP
            row.entries.append(Entry(node, before))
            row.gaps.append(comma.whitespace_after if isinstance(comma, cst.Comma) else NO_GAP)
        if nodes and not closing.empty:
            row.gaps[-1] = closing
        return row

    def commas(self) -> list[cst.Comma | cst.MaybeSentinel]:
        """The commas behind the entries; the last gap stands apart, before the bracket."""
        last = len(self.entries) - 1
        made: list[cst.Comma | cst.MaybeSentinel] = []
        for index, entry in enumerate(self.entries):
            behind = self.gaps[index + 1] if index < last else NO_GAP
            made.append(cst.Comma(entry.before_comma, behind))
        if made and not self.comma:
            made[-1] = cst.MaybeSentinel.DEFAULT
        return made

    # ------------------------------------------------------------------ taking out
    def drop(self, index: int, comments: Collection[str] = ()) -> None:
        """Take an entry out, and the comment behind it if it had the line for itself.

        Of the lines above it, those go that are one of `comments`.
        """
        left, right = self.gaps[index : index + 2]
        is_last = index == len(self.entries) - 1
        if comments and isinstance(left, cst.ParenthesizedWhitespace):
            left = left.with_changes(empty_lines=without(left.empty_lines, comments))
        if _breaks(right):
            gap = _joined(left, right, alone=index == 0)
        elif is_last and not _has_comment(left):
            gap, self.comma = right, False
        else:
            gap, self.comma = left, self.comma or is_last
        self.gaps[index : index + 2] = [gap]
        del self.entries[index]
        if not self.entries:
            self.comma = False
            self.gaps = [gap if _has_comment(gap) else NO_GAP]

    # ------------------------------------------------------------------ putting in
    def insert(self, index: int, node: Node) -> None:
        """Put an entry in, on a line of its own if the others have one each."""
        if not self.entries:
            gaps = [NO_GAP, self.gaps[0] if _has_comment(self.gaps[0]) else NO_GAP]
        elif index == len(self.entries):
            gaps = self._appended()
        elif _breaks(self.gaps[index]) and (index or all(map(_breaks, self.gaps[1:-1]))):
            gaps = _split(self.gaps[index])
        else:
            gaps = [self.gaps[index] if index == 0 else BLANK, BLANK]
        self.gaps[index : index + 1] = gaps
        self.entries.insert(index, Entry(node))

    def _appended(self) -> list[Gap]:
        """The gaps around what comes last."""
        step, tail = self._step(), self.gaps[-1]
        if self.comma and isinstance(tail, cst.ParenthesizedWhitespace):
            above = tail.with_changes(last_line=_last_line(step), indent=_indents(step))
            return [above, tail.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[])]
        if not self.comma and _comment_behind(tail) and _breaks(step):
            assert isinstance(tail, cst.ParenthesizedWhitespace)
            behind = step.with_changes(first_line=tail.first_line)
            return [behind, tail.with_changes(first_line=cst.TrailingWhitespace())]
        return [step, tail]

    def _step(self) -> Gap:
        """What separates the entries."""
        for gap in reversed(self.gaps[:-1]):
            if isinstance(gap, cst.ParenthesizedWhitespace):
                return gap.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[])
        return BLANK


def _joined(left: Gap, right: Gap, *, alone: bool) -> Gap:
    """What is left of the gaps around an entry that ended its line."""
    assert isinstance(right, cst.ParenthesizedWhitespace)
    if isinstance(left, cst.ParenthesizedWhitespace):
        lines = [*left.empty_lines, *right.empty_lines]
        return right.with_changes(first_line=left.first_line, empty_lines=lines)
    return right.with_changes(first_line=cst.TrailingWhitespace()) if alone else right


def _split(gap: Gap) -> list[Gap]:
    """The gaps around an entry that comes between a line end and the comments below it."""
    assert isinstance(gap, cst.ParenthesizedWhitespace)
    return [
        gap.with_changes(empty_lines=[]),
        gap.with_changes(first_line=cst.TrailingWhitespace()),
    ]


def _breaks(gap: Gap) -> bool:
    return isinstance(gap, cst.ParenthesizedWhitespace)


def _comment_behind(gap: Gap) -> bool:
    """Whether a comment follows on the same line."""
    return isinstance(gap, cst.ParenthesizedWhitespace) and gap.first_line.comment is not None


def _has_comment(gap: Gap) -> bool:
    return isinstance(gap, cst.ParenthesizedWhitespace) and (
        gap.first_line.comment is not None or any(line.comment for line in gap.empty_lines)
    )


def _last_line(gap: Gap) -> cst.SimpleWhitespace:
    return gap.last_line if isinstance(gap, cst.ParenthesizedWhitespace) else BLANK


def _indents(gap: Gap) -> bool:
    return isinstance(gap, cst.ParenthesizedWhitespace) and gap.indent
