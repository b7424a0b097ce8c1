"""How deep a program is, told without going down into it call by call."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from fsdp_migrate.syntax.depth import DEEPEST, depth_of, longest_chain, room_for_depth
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.source import Source


def test_every_operator_is_a_level() -> None:
    flat, deep = (depth_of(ast.parse(text))[0] for text in ("a + b", "a + b + c + d"))
    assert deep == flat + 2


def test_the_line_is_where_it_is_deepest() -> None:
    assert depth_of(ast.parse("x = 1\ny = f(g(\n    -z))\nw = 2\n"))[1] == 3


def test_a_file_without_code_has_a_line_too() -> None:
    assert depth_of(ast.parse("")) == (1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a + b\n", 0, id="none"),
        pytest.param("a and b and c\n", 3, id="and"),
        pytest.param("x = (" + "'a'\n" * 600 + ")\n", 600, id="strings"),
        pytest.param("x = '" + "it''s " * 600 + "'\n", 1200, id="strings that touch"),
        pytest.param("x = '''" + "a\n" * 600 + "'''\n", 1, id="a long text"),
        pytest.param('x = """' + "it's\n" * 600 + '"""\n', 1, id="a text with apostrophes"),
    ],
)
def test_the_longest_chain(text: str, expected: int) -> None:
    found = longest_chain(parse(Source(Path("a.py"), text), "a"))
    assert found == expected or (expected > DEEPEST and found > DEEPEST)


def test_the_room_is_given_back() -> None:
    before = sys.getrecursionlimit()
    with room_for_depth():
        assert sys.getrecursionlimit() > before
    assert sys.getrecursionlimit() == before
