"""Edits of texts whose places are found by what is written there."""

from __future__ import annotations

from fsdp_migrate.findings.edits import InsertStatements, ReplaceExpression, ReplaceStatement
from fsdp_migrate.syntax.span import Span
from support.codes import edited, numbered


def at(text: str, part: str, nth: int = 0) -> Span:
    """Where `part` stands in `text` for the (`nth` + 1)th time."""
    text = text.replace("\r\n", "\n")
    start = -1
    for _ in range(nth + 1):
        start = text.index(part, start + 1)

    def place(offset: int) -> tuple[int, int]:
        before = text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1)

    return Span(*place(start), *place(start + len(part)))


def expression(text: str, part: str, template: str, *holes: str, nth: int = 0) -> str:
    """`text` with the expression `part` replaced."""
    span = at(text, part, nth)
    places = tuple(at(text, hole, nth if hole in part else 0) for hole in holes)
    return edited(text, [ReplaceExpression(span, numbered(template, places))])


def statement(text: str, part: str, template: str, *holes: str) -> str:
    """`text` with the statement `part` replaced."""
    places = tuple(at(text, hole) for hole in holes)
    return edited(text, [ReplaceStatement(at(text, part), numbered(template, places))])


def insert(text: str, part: str, template: str, after: bool = False, **blank: int) -> str:
    """`text` with statements beside the statement `part`."""
    edit = InsertStatements(at(text, part), numbered(template), after=after, **blank)
    return edited(text, [edit])
