"""Functions that new code needs: each is defined once in a file, above all that calls it."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Code
from fsdp_migrate.findings.edits import Define, Edit, InsertStatements
from fsdp_migrate.syntax.module import Module

BETWEEN = 2  # blank lines between functions


def defined_once(module: Module, edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """The edits with one insertion for each function that some of them want defined."""
    others: list[Edit] = []
    first: dict[Code, ast.stmt] = {}
    for edit in edits:
        if not isinstance(edit, Define):
            others.append(edit)
            continue
        place = _top_level(module, edit)
        known = first.setdefault(edit.code, place)
        if place.lineno < known.lineno:
            first[edit.code] = place
    made: list[Edit] = []
    places: list[ast.stmt] = []
    for wanted, place in first.items():
        made.append(_insertion(module, place, wanted, is_next=place in places))
        places.append(place)
    return (*others, *made)


def _insertion(module: Module, place: ast.stmt, wanted: Code, is_next: bool) -> InsertStatements:
    """The edit that puts a function above a statement; one blank line is there already.

    One that comes next to another function above the same statement has that one's lines.
    """
    above = 0 if is_next or place is module.tree.body[0] else BETWEEN - 1
    return InsertStatements(module.span(place), wanted, blank_above=above, blank_below=BETWEEN)


def _top_level(module: Module, edit: Define) -> ast.stmt:
    """The statement of the file around the place that needs a function."""
    return next(
        statement
        for statement in module.tree.body
        if statement.lineno <= edit.span.line <= (statement.end_lineno or statement.lineno)
    )
