"""Where a file uses a name."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rewriting.name_uses import NameUses


def uses(text: str) -> NameUses:
    return NameUses(ast.parse(text))


def test_the_functions_around_each_use() -> None:
    found = uses("x\ndef f():\n    x\n    def g(): return lambda: x\nclass A:\n    x\n")
    assert found.functions_around("x") == [
        frozenset(),
        frozenset({(2, 0)}),
        frozenset(),
        frozenset({(2, 0), (4, 4), (4, 20)}),
    ]
    assert found.functions_around("y") == []


FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FUTURE + "def f(a: x) -> x: ...\nb: x = 1\n", True),
        (FUTURE + "def f(*a: x, **b: list[x]): ...\n", True),
        (FUTURE + "def f(a: x): x\n", False),
        ("def f(a: x): ...\n", False),  # evaluated when the function is defined
        (FUTURE + "y\n", True),
    ],
)
def test_names_that_only_annotate(text: str, expected: bool) -> None:
    assert uses(text).only_annotates("x") is expected
