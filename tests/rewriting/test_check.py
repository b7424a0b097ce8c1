"""What a rewritten file has to pass."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rewriting.check import problem, unbound
from support.edits import module_of


@pytest.mark.parametrize(
    ("text", "meant", "complaint"),
    [
        ("x = f(1)\n", "x = f(1)", ""),
        ("x = f(\n    1  # one\n)\n", "x = f(1)", ""),
        ("x = f(1\n", "x = f(1)", "line 1 of the result is not Python"),
        ("x = f(2)\n", "x = f(1)", "the result does not say what was meant"),
        ("not (a or b)\n", "(not a) or b", "the result does not say what was meant"),
        ("y = g(1)\n", "y = g(1)", "the result leaves g undefined"),
    ],
)
def test_a_result_is_python_and_says_what_was_meant(text: str, meant: str, complaint: str) -> None:
    module = module_of("def f(x): ...\na = b = None\nx = f(0)\n")
    before = "def f(x): ...\na = b = None\n"
    found = problem(before + text, ast.parse(before + meant), module)
    assert found.replace("line 3", "line 1").startswith(complaint)
    assert bool(found) == bool(complaint)


@pytest.mark.parametrize(
    ("before", "after", "loose"),
    [
        ("import a\na\n", "a\n", "a"),
        ("import a, b\na, b\n", "b, a\n", "a, b"),
        ("import a\na\n", "import a\na\n", ""),
        ("a\n", "a\n", ""),  # nothing bound it before
        ("x = 1\n", "print(__file__, __name__, x)\nx = 1\n", ""),
        ("import a\na\n", "from b import *\na\n", ""),  # it may come from there
        ("import a\nx: 'a.B'\n", "x: 'a.B'\n", "a"),
        ("import a\n__all__ = ['a']\n", "__all__ = ['a']\n", "a"),
        ("from a import b\nb\n", "def f(b): b\n", ""),
    ],
)
def test_no_name_is_left_without_what_binds_it(before: str, after: str, loose: str) -> None:
    expected = f"the result leaves {loose} undefined" if loose else ""
    assert unbound(ast.parse(after), module_of(before)) == expected


def test_what_only_the_compiler_complains_about() -> None:
    text = "[unit for unit in (m := model)]\n"
    found = problem(text, ast.parse(text), module_of("model = 1\nmodel\n"))
    assert found.startswith("the result is not Python: assignment expression cannot be used")


def test_what_was_wrong_before_is_no_complaint() -> None:
    text = "model = 1\nreturn model\n"
    assert not problem(text, ast.parse(text), module_of("model = 2\nreturn model\n"))
