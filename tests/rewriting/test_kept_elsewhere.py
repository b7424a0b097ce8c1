"""Expressions that are kept in another place, with other code for parts of them."""

from __future__ import annotations

import ast

import libcst as cst
import pytest

from fsdp_migrate.findings.code import Kept, Literal, Part, code, local_variable, variable
from fsdp_migrate.findings.edits import ReplaceStatement
from fsdp_migrate.rewriting.line_breaks import joined, laid_out
from fsdp_migrate.rewriting.name_clashes import spell
from fsdp_migrate.rewriting.statements import apply_edits
from support.programs import Analysis


def kept(predicate: str, instead: Part) -> str:
    """The body of a lambda in a test of its own, with other code where it reads `m`."""
    module = Analysis(f"predicate = {predicate}\n").module()
    (statement,) = module.tree.body
    assert isinstance(statement, ast.Assign)
    assert isinstance(statement.value, ast.Lambda)
    body = statement.value.body
    reads = [n for n in ast.walk(body) if isinstance(n, ast.Name) and n.id == "m"]
    test = Kept(module.span(body), tuple((module.span(n), instead) for n in reads))
    edit = ReplaceStatement(module.span(statement), code("if {test}:\n    pass", test=test))
    return apply_edits(module.source.text, [edit], spell(module, [edit])).splitlines()[0]


@pytest.mark.parametrize(
    ("predicate", "test"),
    [
        ("lambda m: m", "unit"),
        ("lambda m: m.x and m", "unit.x and unit"),
        ("lambda m: (m.x or m)", "unit.x or unit"),
        ("lambda m: (m).x", "unit.x"),
        ("lambda m: f(m=m)[m]", "f(m=unit)[unit]"),
        ("lambda m: (\n    m.x\n    or m.y\n)", "unit.x or unit.y"),
    ],
)
def test_another_variable(predicate: str, test: str) -> None:
    assert kept(predicate, variable("unit")) == f"if {test}:"


def test_parentheses_where_the_other_code_needs_them() -> None:
    either = code("{a} or {b}", a=Literal(1), b=Literal(2))
    assert kept("lambda m: m.x and m", either) == "if (1 or 2).x and (1 or 2):"


def test_a_variable_that_has_to_differ_from_little() -> None:
    assert kept("lambda m: m", local_variable("predicate", beside=())) == "if predicate:"
    assert kept("lambda m: m", local_variable("m", beside={"m"})) == "if fsdp_m:"


@pytest.mark.parametrize(
    ("text", "room", "line"),
    [
        ("(\n    a\n    and b\n)", 80, "( a and b )"),
        ("f(\n    a,  # first\n)", 80, None),
        ("f(\n    a,\n)", 5, None),
        ("f(a)", 80, None),
        ('f(\n    """a\n    b"""\n)', 80, None),
    ],
)
def test_on_one_line(text: str, room: int, line: str | None) -> None:
    node = joined(cst.parse_expression(text), room)
    assert cst.Module([]).code_for_node(node) == (line or text)


def test_long_lines_inside_of_new_statements_are_broken_up() -> None:
    module = cst.parse_module("for a in b:\n    if a:\n        call(first, second, third)\n")
    (loop,) = module.body
    assert isinstance(loop, cst.For)
    short = laid_out(loop, "    ", 30, ())
    assert cst.Module([short]).code.splitlines()[2:] == [
        "        call(",
        "            first,",
        "            second,",
        "            third,",
        "        )",
    ]
    inner = loop.body.body[0]
    assert cst.Module([laid_out(loop, "    ", 30, {id(inner)})]).code == module.code
