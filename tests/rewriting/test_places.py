"""The places of edits in a tree of LibCST."""

from __future__ import annotations

import ast

import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider

from fsdp_migrate.findings.code import NOTHING, Kept, Literal, call
from fsdp_migrate.findings.edits import (
    Edit,
    InsertStatements,
    LeaveContext,
    MoveStatement,
    ReplaceExpression,
    ReplaceStatement,
)
from fsdp_migrate.rewriting.edits_by_place import EditError, EditsByPlace
from fsdp_migrate.rewriting.places import Places, place_of
from fsdp_migrate.syntax.span import Span
from support.edits import module_of
from support.texts import at


def places(text: str, *edits: Edit) -> Places:
    wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    return Places.of(EditsByPlace(edits), wrapper.resolve(PositionProvider))


def code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node).strip()


def test_expressions_that_are_replaced_or_kept() -> None:
    text = "x = f(a, b)\n"
    outer, kept = at(text, "f(a, b)"), at(text, "b")
    found = places(text, ReplaceExpression(outer, call(Kept(kept))))
    assert {code(node): span for node, span in found.spans.items()} == {
        "f(a, b)": outer,
        "b": kept,
    }
    assert code(found.original[kept]) == "b"


def test_statements_beside_others_on_a_line() -> None:
    text = "a = 1; b = 2\nc = 3\n"
    first = ReplaceStatement(at(text, "b = 2"), NOTHING)
    found = places(text, first, InsertStatements(at(text, "c = 3"), Literal(1)))
    assert {code(node): start for node, start in found.starts.items()} == {
        "b = 2": (1, 7),
        "c = 3": (2, 0),
    }
    (b,) = [node for node in found.starts if code(node) == "b = 2"]
    assert found.statement_edit(b) == first


def test_statements_without_any_edit_are_quiet() -> None:
    text = "a = 1\n@f\ndef g():\n    b = 2\n    c = 3\nd = 4\n"
    found = places(text, ReplaceExpression(at(text, "2"), Literal(3)))
    assert sorted(code(node) for node in found.quiet) == ["a = 1", "c = 3", "d = 4"]
    found = places(text, ReplaceExpression(at(text, "f"), Literal(3)))
    assert sorted(map(code, found.quiet)) == ["a = 1", "b = 2", "c = 3", "d = 4"]


def test_statements_that_move_and_where_they_land() -> None:
    text = "a = 1\nb = 2\n"
    found = places(text, MoveStatement(at(text, "a = 1"), at(text, "b = 2")))
    assert {code(node): start for node, start in found.lines.items()} == {
        "a = 1": (1, 0),
        "b = 2": (2, 0),
    }


def test_items_of_a_with_that_go() -> None:
    text = "with a, b as c, d:\n    pass\n"
    first, last = LeaveContext(at(text, "a")), LeaveContext(at(text, "d"))
    found = places(text, first, last)
    (statement,) = [node for node in found.columns if isinstance(node, cst.With)]
    assert found.items_left(statement) == {0: first, 2: last}


def test_comments_that_go_with_statements() -> None:
    text = "import a  # b\n"
    edit = ReplaceStatement(at(text, "import a"), NOTHING, without_comments=frozenset({"# b"}))
    found = places(text, edit)
    (line,) = [node for node in found.columns if isinstance(node, cst.SimpleStatementLine)]
    assert found.dropped_comments(line) == {"# b"}


@pytest.mark.parametrize(
    "edit",
    [
        ReplaceExpression(Span(1, 0, 1, 2), Literal(1)),
        ReplaceStatement(Span(1, 2, 1, 3), NOTHING),
        InsertStatements(Span(2, 0, 2, 3), Literal(1)),
        MoveStatement(Span(1, 2, 1, 3), Span(1, 0, 1, 4)),
        LeaveContext(Span(1, 3, 1, 4)),
    ],
)
def test_places_where_there_is_nothing(edit: Edit) -> None:
    with pytest.raises(EditError, match="nothing to edit"):
        places("f(a)\n", edit)


def test_edits_that_nobody_made() -> None:
    text = "f(a)\n"
    edit = ReplaceExpression(at(text, "a"), Literal(1))
    found = places(text, edit)
    with pytest.raises(EditError, match="not made"):
        found.complain_unless_made()
    found.made.add(edit)
    found.complain_unless_made()


@pytest.mark.parametrize(
    "text",
    [
        "f(x for x in y)", "f((x for x in y))", "((x for x in y))", "f(a, (b, c))", "(a, b)",
        "((a, b))", "((a))", "(a).b", "x = (yield)", "f(a)[b](c)", "a, b", "é = f('🎉', b)",
    ],
)  # fmt: skip
def test_an_expression_is_where_ast_sees_it(text: str) -> None:
    module = module_of(text + "\n")
    wanted = {module.span(n) for n in ast.walk(module.tree) if isinstance(n, ast.expr)}
    positions = MetadataWrapper(cst.parse_module(text + "\n")).resolve(PositionProvider)
    found = {place_of(n, positions) for n in positions if isinstance(n, cst.BaseExpression)}
    lone = {span for span in wanted - found if "f(x for" not in text}
    assert not lone
