"""Whether two pieces of code say the same."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.syntax.comparison import same


def expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("self.model", "self . model", True),
        ("f(x, key=1)", "f(x,\n  key=1)", True),
        ("'a'", "u'a'", True),
        ("a[0]", "a[1]", False),
        ("1", "1.0", False),
        ("1", "True", False),
        ("f(x)", "f(x, y)", False),
        ("self.model", "model", False),
    ],
)
def test_lay_out_says_nothing(one: str, other: str, equal: bool) -> None:
    assert same(expression(one), expression(other)) is equal


def test_a_target_is_the_same_as_what_is_read() -> None:
    (statement,) = ast.parse("self.model = self.model").body
    assert isinstance(statement, ast.Assign)
    assert same(statement.targets[0], statement.value)


def test_nothing_is_the_same_as_nothing_only() -> None:
    assert same(None, None)
    assert not same(None, expression("None"))
