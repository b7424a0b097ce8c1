"""Lines of an expression that stood further in than the statement that it is in now."""

from __future__ import annotations

import libcst as cst
import pytest

from fsdp_migrate.rewriting.outdent import outdented

TABLE = """\
x = {
        "a": 1,
        # the other
        "b": 2,
    }[name]
"""
LESS = """\
x = {
    "a": 1,
    # the other
    "b": 2,
}[name]
"""
TEXT = 'x = f("""\n        text\n    """, [\n        1,\n    ])\n'


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (TABLE, LESS),
        (LESS, LESS),
        ("x = f(1,\n      2)\n", "x = f(1,\n      2)\n"),
        (TEXT, 'x = f("""\n        text\n    """, [\n    1,\n])\n'),
        ("if a:\n    b()\n", "if a:\n    b()\n"),
    ],
)
def test_outdented(source: str, expected: str) -> None:
    module = cst.parse_module(source)
    statement = module.body[0]
    assert isinstance(statement, cst.BaseStatement)
    made = outdented(statement)
    assert cst.Module([made]).code == expected
