"""What a rewritten file has to pass."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rewriting.check import problem
from support.edits import module_of

WRONG = {
    "no Python": ("x = = 1\n", "x = 1\n", "line 1 of the result is not Python: invalid syntax"),
    "other code": ("x = 2\n", "x = 1\n", "the result does not say what was meant"),
    "a name that is gone": ("x = y\n", "x = y\n", "the result leaves y undefined"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_complaints(kind: str) -> None:
    text, meant, complaint = WRONG[kind]
    assert problem(text, ast.parse(meant), module_of("y = 1\nx = y\n")) == complaint


def test_what_only_the_compiler_complains_about() -> None:
    text = "[unit for unit in (m := model)]\n"
    found = problem(text, ast.parse(text), module_of("model = 1\nmodel\n"))
    assert found.startswith("the result is not Python: assignment expression cannot be used")


def test_what_was_wrong_before_is_no_complaint() -> None:
    text = "model = 1\nreturn model\n"
    assert not problem(text, ast.parse(text), module_of("model = 2\nreturn model\n"))
