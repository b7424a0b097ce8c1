"""The tree of new code."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest

from fsdp_migrate.findings.code import (
    ALTERNATIVE,
    BODY,
    NOTHING,
    Code,
    Item,
    Kept,
    Keyword,
    Literal,
    Name,
    Part,
    Quoted,
    Starred,
    block,
    call,
    code,
    dictionary,
    loop_variable,
    qualified,
)
from fsdp_migrate.rewriting.meant_code import MeantCode, Suites, copied, in_context
from fsdp_migrate.syntax.span import Span
from support.codes import AsWritten

PLACE, INNER = Span(1, 0, 1, 3), Span(1, 2, 1, 3)
A, F = Kept(PLACE), Name("lib", "f")


class Shadowed(AsWritten):
    """A file that has something of its own called `len`."""

    def builtin(self, name: str) -> str:
        return f"builtins.{name}" if name == "len" else name


def kept(span: Span, instead: Mapping[Span, ast.expr]) -> ast.expr:
    """`a.b` at the place of all that is kept, or a call of what goes instead of its parts."""
    if not instead:
        return ast.parse("a.b", mode="eval").body
    return ast.Call(ast.Name("a", ast.Load()), list(instead.values()), [])


MEANT = MeantCode(Shadowed(), kept)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Literal(None), "None"),
        (Literal("x"), "'x'"),
        (F, "f"),
        (qualified("lib.f"), "f"),
        (A, "a.b"),
        (Kept(PLACE, instead=((INNER, Literal(1)),)), "a(1)"),
        (Quoted(("list[", F, "]")), "'list[f]'"),
        (call(F, A, Starred(A), k=F), "f(a.b, *a.b, k=f)"),
        (call(F, Keyword("k", Literal(1)), Starred(A, double=True)), "f(k=1, **a.b)"),
        (call(F, Keyword("k", A), Starred(A)), "f(*a.b, k=a.b)"),
        (code("[0, {items}, 9]", items=(A, Starred(A))), "[0, a.b, *a.b, 9]"),
        (code("({items}, {last})", items=(A, A), last=F), "(a.b, a.b, f)"),
        (code("{{{items}}}", items=(A, Literal(1))), "{a.b, 1}"),
        (code("[{items}]", items=()), "[]"),
        (dictionary(Item(A, F), Starred(A, double=True)), "{a.b: f, **a.b}"),
        (code("{{1: 2, **{x}}}", x=A), "{1: 2, **a.b}"),
        (code("len({x})", x=A), "builtins.len(a.b)"),
        (code("{x} + {x}", x=A), "a.b + a.b"),
        (code("({x} or {y}).z", x=A, y=code("not {x}", x=A)), "(a.b or not a.b).z"),
        (code("[{p} for {p} in {x}]", p=loop_variable("p"), x=A), "[p for p in a.b]"),
    ],
)  # fmt: skip
def test_expressions(part: Part, expected: str) -> None:
    assert ast.unparse(MEANT.expression(part)) == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (NOTHING, ""),
        (A, "a.b"),
        (BODY, "x = 1\ny = 2"),
        (ALTERNATIVE, "z = 3"),
        (block(call(F), BODY, call(F)), "f()\nx = 1\ny = 2\nf()"),
        (
            code("if {x}:\n    {body}\nelse:\n    {other}", x=A, body=BODY, other=ALTERNATIVE),
            "if a.b:\n    x = 1\n    y = 2\nelse:\n    z = 3",
        ),
        (code("{target} = {x}", target=A, x=F), "a.b = f"),
        (code("for {p} in {x}:\n    {p}", p=loop_variable("p"), x=A), "for p in a.b:\n    p"),
        (code("{two}", two=block(F, F)), "f\nf"),
    ],
)
def test_statements(part: Part, expected: str) -> None:
    suites = Suites(ast.parse("x = 1\ny = 2").body, ast.parse("z = 3").body)
    assert ast.unparse(ast.Module(MEANT.block(part, suites), [])) == expected


def test_nothing_is_filled_in_what_is_kept() -> None:
    one_hole = code("{x}", x=Literal(1)).parsed.text
    meant = MeantCode(AsWritten(), lambda span, instead: ast.parse(one_hole, mode="eval").body)
    assert ast.unparse(meant.expression(code("[{x}, {y}]", x=A, y=F))) == f"[{one_hole}, f]"


def test_a_body_is_no_expression() -> None:
    with pytest.raises(AssertionError):
        MEANT.expression(BODY)
    assert isinstance(NOTHING, Code)


def test_targets_are_stored_and_values_are_loaded() -> None:
    value = ast.parse("(a, [b, c])", mode="eval").body
    target = in_context(value, ast.Store())
    assert [type(n.ctx) for n in ast.walk(target) if isinstance(n, ast.Name)] == [ast.Store] * 3
    assert [type(n.ctx) for n in ast.walk(value) if isinstance(n, ast.Name)] == [ast.Load] * 3
    assert in_context(value, None) is value
    assert in_context(value, ast.Load()) is value


def test_copies_leave_the_original_alone() -> None:
    node = ast.parse("f(a)", mode="eval").body
    other = copied(node, {"args": []})
    assert (ast.unparse(node), ast.unparse(other)) == ("f(a)", "f()")
    assert (other.lineno, other.end_col_offset) == (node.lineno, node.end_col_offset)
