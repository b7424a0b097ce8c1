"""The opposite of a test, in the fewest words."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.rule.queries.opposites import opposite
from support.edits import edited
from support.programs import Analysis


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("a", "not a"),
        ("not a", "a"),
        ("a == b", "a != b"),
        ("a != b", "a == b"),
        ("a < b", "a >= b"),
        ("a <= b", "a > b"),
        ("a > b", "a <= b"),
        ("a >= b", "a < b"),
        ("a is None", "a is not None"),
        ("a is not None", "a is None"),
        ("a in b", "a not in b"),
        ("a not in b", "a in b"),
        ("a < b < c", "not a < b < c"),
        ("a or b", "not (a or b)"),
        ("a and b == c", "not a or b != c"),
        ("not a or b", "a and not b"),
        ("a == b and not (c if d else e)", "a != b or (c if d else e)"),
        ("a == b and (c or d)", "not (a == b and (c or d))"),
        ("a if b else c", "not (a if b else c)"),
        ("not (a := b)", "(a := b)"),
        ("i % n", "not i % n"),
        ("'{0}' == a", "'{0}' != a"),
    ],
)
def test_opposites(test: str, expected: str) -> None:
    module = Analysis(f"f({test})\n").module()
    call = next(node for node in ast.walk(module.tree) if isinstance(node, ast.Call))
    edit = ReplaceExpression(module.span(call.args[0]), opposite(module, call.args[0]))
    assert edited(module, edit) == f"f({expected})\n"
