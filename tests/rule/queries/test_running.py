"""When code runs, followed to its callers."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.running import (
    callers,
    enclosing_contexts,
    ends_early,
    is_caught,
    runs_inside,
    runs_once,
)
from support.facts import Program
from support.programs import dedent

PROGRAM = """
def work(x):
    mark(x)


def mark(x):
    ...


def inside(x):
    with outer(x):
        work(x)


{}
"""


def program(text: str) -> Program:
    """A program in which `mark(x)` is the place that is asked about."""
    return Program(PROGRAM.format(dedent(text)))


def test_callers_are_found_by_value() -> None:
    found = program("alias = work\nalias(1)\n")
    module = found.module()
    work = next(n for n in ast.walk(module.tree) if isinstance(n, ast.FunctionDef))
    assert sorted(ast.unparse(call) for _, call in callers(found.facts, module, work)) == [
        "alias(1)",
        "work(x)",
    ]


@pytest.mark.parametrize(("text", "expected"), [("inside(1)\n", True), ("work(1)\n", False)])
def test_runs_inside(text: str, expected: bool) -> None:
    found = program(text)
    module = found.module()
    statements = [n for n in ast.walk(module.tree) if isinstance(n, ast.With)]
    place = found.node("mark(x)")
    assert runs_inside(found.facts, module, place, statements) is expected
    assert not runs_inside(found.facts, module, place, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y = place(1)", True),
        ("for i in y: place(1)", False),
        ("while y: place(1)", False),
        ("y = [place(1) for i in y]", False),
        ("y = lambda: place(1)", False),
        ("def f(): place(1)\n\nf()", True),
        ("def f(): place(1)\n\nf(); f()", False),
    ],
)
def test_runs_once(text: str, expected: bool) -> None:
    found = Program(f"y = []\n{text}\n")
    assert runs_once(found.facts, found.module(), found.node("place(1)")) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("place(1)", False),
        ("try:\n    place(1)\nexcept ValueError:\n    pass", True),
        ("try:\n    place(1)\nexcept ValueError:\n    raise", False),
        ("try:\n    place(1)\nfinally:\n    x = 1", False),
        ("try:\n    x = 1\nexcept ValueError:\n    place(1)", False),
        ("with contextlib.suppress(ValueError):\n    place(1)", True),
        ("with open('suppress'):\n    place(1)", False),
        ("def f():\n    place(1)\n\ntry:\n    f()\nexcept OSError:\n    pass", True),
        ("def f():\n    place(1)\n\nf()", False),
        ("def f():\n    place(1)", True),
    ],
)
def test_is_caught(text: str, expected: bool) -> None:
    """What nothing of the program calls may be called by somebody who catches exceptions."""
    found = Program(f"import contextlib\n\n{text}\n")
    assert is_caught(found.facts, found.module(), found.node("place(1)")) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x = 1", False),
        ("return x", True),
        ("await x", True),
        ("yield x", True),
        ("break", True),
        ("for i in x:\n            break", False),
        ("f = lambda: (yield x)", False),
        ("def f():\n            return x", False),
    ],
)
def test_ends_early(body: str, expected: bool) -> None:
    tree = ast.parse(f"async def g(x):\n  while x:\n    with x:\n        {body}\n")
    statement = next(node for node in ast.walk(tree) if isinstance(node, ast.With))
    assert ends_early(statement) is expected


def test_contexts_of_callers_count() -> None:
    found = program("inside(1)\n")
    contexts = enclosing_contexts(found.facts, found.module(), found.node("mark(x)"))
    assert [ast.unparse(context) for context in contexts] == ["outer(x)"]
