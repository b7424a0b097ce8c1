"""How tightly expressions hold together, and the parentheses that follow from it."""

from __future__ import annotations

import ast
from typing import cast

import libcst as cst
import pytest

from fsdp_migrate.rewriting.parentheses import (
    Level,
    generators_apart,
    held_together,
    level,
    parenthesized,
)

# Expressions, the loosest first.
LOOSENESS = [
    ("(yield x)", Level.PRIMARY),
    ("lambda: x", Level.LAMBDA),
    ("x if y else z", Level.CONDITIONAL),
    ("x or y", Level.OR),
    ("x and y", Level.AND),
    ("not x", Level.NOT),
    ("x < y", Level.COMPARISON),
    ("x not in y", Level.COMPARISON),
    ("x | y", Level.BIT_OR),
    ("x ^ y", Level.BIT_XOR),
    ("x & y", Level.BIT_AND),
    ("x >> y", Level.SHIFT),
    ("x - y", Level.SUM),
    ("x // y", Level.PRODUCT),
    ("x @ y", Level.PRODUCT),
    ("-x", Level.SIGN),
    ("~x", Level.SIGN),
    ("x ** y", Level.POWER),
    ("await x", Level.AWAIT),
    ("1", Level.NUMBER),
    ("1.5", Level.NUMBER),
    ("1j", Level.PRIMARY),
    ("x", Level.PRIMARY),
    ("x.y", Level.PRIMARY),
    ("x()", Level.PRIMARY),
    ("x[y]", Level.PRIMARY),
    ("[x]", Level.PRIMARY),
    ("'x'", Level.PRIMARY),
    ("(x, y)", Level.PRIMARY),
    ("(x or y)", Level.PRIMARY),
    ("x, y", Level.TUPLE),
]


@pytest.mark.parametrize(("text", "expected"), LOOSENESS)
def test_levels(text: str, expected: Level) -> None:
    assert level(cst.parse_expression(text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("old + x", "(x or y) + x"),
        ("-old", "-(x or y)"),
        ("not old", "not (x or y)"),
        ("old or x", "x or y or x"),
        ("x and old", "x and (x or y)"),
        ("old if x else y", "x or y if x else y"),
        ("x if old else y", "x if x or y else y"),
        ("x if y else old", "x if y else x or y"),
        ("old.x", "(x or y).x"),
        ("old()", "(x or y)()"),
        ("f(old)", "f(x or y)"),
        ("f(*old)", "f(*x or y)"),
        ("[old]", "[x or y]"),
        ("[*old]", "[*(x or y)]"),
        ("{**old}", "{**(x or y)}"),
        ("x[old]", "x[x or y]"),
        ("old < x", "(x or y) < x"),
        ("lambda: old", "lambda: x or y"),
        ("(a := old)", "(a := x or y)"),
        ("await old", "await (x or y)"),
    ],
)
def test_a_disjunction_in_every_place(text: str, expected: str) -> None:
    new = cst.parse_expression("x or y")

    class Put(cst.CSTTransformer):
        def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
            return new if updated_node.value == "old" else updated_node

        def on_leave(  # type: ignore[override]
            self, original_node: cst.CSTNode, updated_node: cst.CSTNode
        ) -> cst.CSTNode:
            result = super().on_leave(original_node, updated_node)
            return held_together(cast(cst.CSTNode, result), lambda child: child is new)

    made = cst.parse_module(text).visit(Put()).code
    assert made == expected
    ast.parse(made)


def test_what_was_not_replaced_is_left_alone() -> None:
    odd = cst.UnaryOperation(cst.Minus(), cst.parse_expression("x"))
    assert held_together(odd, lambda child: False) is odd


def test_numbers_need_them_before_a_dot_only() -> None:
    number = cst.parse_expression("1")
    dotted = cst.Attribute(number, cst.Name("real"))
    made = held_together(dotted, lambda child: child is number)
    assert cst.Module([]).code_for_node(made) == "(1).real"
    called = cst.Subscript(number, [cst.SubscriptElement(cst.Index(cst.Name("x")))])
    made = held_together(called, lambda child: child is number)
    assert cst.Module([]).code_for_node(made) == "1[x]"


def test_parentheses_hold_anything_together() -> None:
    node = parenthesized(cst.parse_expression("x or y"))
    assert cst.Module([]).code_for_node(node) == "(x or y)"
    assert level(node) is Level.PRIMARY


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["x for x in y"], "f(x for x in y)"),
        (["x for x in y", "z"], "f((x for x in y), z)"),
        (["z", "x for x in y"], "f(z, (x for x in y))"),
        (["x", "z"], "f(x, z)"),
    ],
)
def test_generators_stand_bare_alone(arguments: list[str], expected: str) -> None:
    def bare(text: str) -> cst.BaseExpression:
        call = cast(cst.Call, cst.parse_expression(f"f({text})"))
        return call.args[0].value

    call = cst.Call(cst.Name("f"), [cst.Arg(bare(text)) for text in arguments])
    assert cst.Module([]).code_for_node(generators_apart(call)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{x}", "f'{ {x} }'"), ("{x: y}", "f'{ {x: y} }'"), ("[x]", "f'{[x]}'"), ("x", "f'{x}'")],
)
def test_two_braces_would_be_one_in_an_f_string(text: str, expected: str) -> None:
    new = cst.parse_expression(text)
    part = held_together(cst.FormattedStringExpression(new), lambda child: child is new)
    made = cst.FormattedString([cast(cst.FormattedStringExpression, part)], start="f'", end="'")
    code = cst.Module([]).code_for_node(made)
    assert code.replace(" ", "") == expected.replace(" ", "")
    parsed = ast.parse(code, mode="eval").body
    assert isinstance(parsed, ast.JoinedStr)
    assert isinstance(parsed.values[0], ast.FormattedValue)
    assert ast.dump(parsed.values[0].value) == ast.dump(ast.parse(text, mode="eval").body)
