"""Comments and blank lines around statements that change: none is lost, none is doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import cast

import libcst as cst

Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement


def suite(body: object) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
    """The statements of a suite, and the comment lines at its end."""
    if isinstance(body, cst.IndentedBlock):
        statements = list(body.body)
        comment = body.header.comment
        if comment is not None and statements:
            first = cast(Statement, statements[0])
            lines = [cst.EmptyLine(comment=comment), *first.leading_lines]
            statements[0] = first.with_changes(leading_lines=lines)
        return statements, list(body.footer)
    if isinstance(body, cst.SimpleStatementSuite):
        line = cst.SimpleStatementLine(body.body, trailing_whitespace=body.trailing_whitespace)
        return [line], []
    return [], []


def alternative(
    statement: cst.BaseStatement,
) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
    """The `elif` of an `if`, as an `if`, or the statements of its `else`."""
    orelse = getattr(statement, "orelse", None)
    if isinstance(orelse, cst.If):
        return [orelse], []
    return suite(getattr(orelse, "body", None))


def bare(piece: cst.BaseStatement) -> cst.BaseStatement:
    return cast(Statement, piece).with_changes(leading_lines=[])


def led(piece: cst.BaseStatement, lines: Sequence[cst.EmptyLine]) -> cst.BaseStatement:
    """`piece` below `lines` (and below what leads it already, if that is a comment)."""
    statement = cast(Statement, piece)
    own = [line for line in statement.leading_lines if line not in lines]
    return statement.with_changes(leading_lines=[*lines, *own])


# The blank lines between functions.
APART = (cst.EmptyLine(indent=False), cst.EmptyLine(indent=False))


def set_apart(piece: cst.BaseStatement) -> cst.BaseStatement:
    """`piece` with two blank lines above it and its comments."""
    statement = cast(Statement, piece)
    lines = list(statement.leading_lines)
    while lines and lines[0].comment is None:
        del lines[0]
    return statement.with_changes(leading_lines=[*APART, *lines])


def has_lines_above(original: cst.BaseStatement) -> bool:
    """Whether blank lines above the first statement of a block are the author's."""
    lines = cast(Statement, original).leading_lines
    return bool(lines) and lines[0].comment is None


def comments_only(lines: Sequence[cst.EmptyLine]) -> list[cst.EmptyLine]:
    return [line for line in lines if line.comment is not None]


def without(lines: Sequence[cst.EmptyLine], dropped: Collection[str]) -> list[cst.EmptyLine]:
    """`lines` but for the comments `dropped`."""
    return [n for n in lines if n.comment is None or n.comment.value not in dropped]


class _CommentCollector(cst.CSTVisitor):
    def __init__(self) -> None:
        super().__init__()
        self.comments: list[cst.Comment] = []

    def visit_Comment(self, node: cst.Comment) -> None:
        self.comments.append(node)


def comments_of(node: cst.CSTNode) -> list[cst.Comment]:
    collector = _CommentCollector()
    node.visit(collector)
    return collector.comments


def inline_comments(statement: cst.BaseStatement) -> list[cst.Comment]:
    """The comments of a statement but for those on the lines above it."""
    above = Counter(
        line.comment.value for line in cast(Statement, statement).leading_lines if line.comment
    )
    result = []
    for comment in comments_of(statement):
        if above[comment.value]:
            above[comment.value] -= 1
        else:
            result.append(comment)
    return result


def keep_comments(
    original: cst.BaseStatement,
    pieces: list[cst.BaseStatement],
    later: list[cst.EmptyLine],
    dropped: Collection[str] = (),
    inside: Counter[str] | None = None,
) -> list[cst.BaseStatement]:
    """Put comments that edits would drop, but for those `dropped` on purpose, above `pieces`.

    `inside` are those that went with statements within it.
    """
    lost = _lost(original, pieces, later, dropped, Counter(inside or ()))
    if dropped:
        first = cast(Statement, pieces[0])
        lines = without(first.leading_lines, dropped)
        pieces = [first.with_changes(leading_lines=lines), *pieces[1:]]
    trailing = getattr(original, "trailing_whitespace", None)
    if isinstance(trailing, cst.TrailingWhitespace) and trailing.comment in lost:
        last = pieces[-1]
        if isinstance(last, cst.SimpleStatementLine) and last.trailing_whitespace.comment is None:
            lost.remove(trailing.comment)
            pieces = [*pieces[:-1], last.with_changes(trailing_whitespace=trailing)]
    if not lost:
        return pieces
    first = cast(Statement, pieces[0])
    above = [*first.leading_lines, *(cst.EmptyLine(comment=comment) for comment in lost)]
    return [first.with_changes(leading_lines=above), *pieces[1:]]


def _lost(
    original: cst.BaseStatement,
    pieces: Sequence[cst.BaseStatement],
    later: Sequence[cst.EmptyLine],
    dropped: Collection[str],
    inside: Counter[str],
) -> list[cst.Comment]:
    """The comments of `original` that are found neither in `pieces` nor `later`."""
    left = Counter(c.value for node in [*pieces, *later] for c in comments_of(node))
    lost: list[cst.Comment] = []
    for comment in comments_of(original):
        if left[comment.value]:
            left[comment.value] -= 1
        elif inside[comment.value]:
            inside[comment.value] -= 1
        elif comment.value not in dropped:
            lost.append(comment)
    return lost
