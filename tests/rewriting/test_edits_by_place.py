"""Edits by the places that they are about."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.code import NOTHING, Kept, Literal, call
from fsdp_migrate.findings.edits import (
    Edit,
    InsertStatements,
    LeaveContext,
    MoveStatement,
    ReplaceExpression,
    ReplaceStatement,
)
from fsdp_migrate.rewriting.edits_by_place import EditError, EditsByPlace, lines_of, start_of
from fsdp_migrate.syntax.span import Span

HERE, THERE = Span(1, 4, 1, 9), Span(3, 0, 5, 2)


def test_each_kind_is_found_by_what_it_is_about() -> None:
    expression = ReplaceExpression(HERE, Literal(1))
    statement = ReplaceStatement(THERE, NOTHING)
    before = InsertStatements(HERE, Literal(1))
    after = InsertStatements(HERE, Literal(2), after=True)
    leave = LeaveContext(HERE)
    move = MoveStatement(HERE, THERE)
    found = EditsByPlace((expression, statement, before, after, leave, move))
    assert found.expressions == {HERE: expression}
    assert found.statements == {(3, 0): statement}
    assert found.inserts == {(1, 4): [before, after]}
    assert found.leaves == {HERE: leave}
    assert (found.moves, found.landings) == ({(1, 4): move}, {(3, 0)})


def test_what_the_new_code_keeps() -> None:
    inner = Span(1, 5, 1, 6)
    edit = ReplaceExpression(HERE, call(Literal(1), Kept(inner), key=Kept(HERE)))
    assert EditsByPlace((edit,)).kept == {inner, HERE}


def test_the_same_edit_twice_is_one() -> None:
    edit = InsertStatements(HERE, Literal(1))
    assert EditsByPlace((edit, edit)).inserts[start_of(HERE)] == [edit]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ReplaceExpression(HERE, Literal(1)), ReplaceExpression(HERE, Literal(2))),
        (ReplaceStatement(HERE, NOTHING), ReplaceStatement(HERE, Literal(1))),
        (LeaveContext(HERE), LeaveContext(HERE, guarded=True)),
        (MoveStatement(HERE, THERE), MoveStatement(HERE, HERE)),
    ],
)
def test_two_edits_of_one_place(one: Edit, other: Edit) -> None:
    with pytest.raises(EditError, match="two edits"):
        EditsByPlace((one, other))


def test_the_lines_that_edits_are_about() -> None:
    edits = [MoveStatement(HERE, THERE), ReplaceStatement(HERE, NOTHING)]
    assert lines_of(edits) == [(1, 1), (1, 1), (3, 5)]
