"""How the children of a module are read."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.module_walks import goes_down, name_beside, taken_first
from support.facts import Program


def found(text: str) -> tuple[Program, ast.Call]:
    program = Program(text)
    (call,) = [
        n
        for n in ast.walk(module_of(program).tree)
        if isinstance(n, ast.Call)
        and isinstance(n.func, ast.Attribute)
        and n.func.attr in ("children", "named_children")
    ]
    return program, call


def module_of(program: Program):  # type: ignore[no-untyped-def]
    (module,) = program.facts.analysis.project.modules.values()
    return module


@pytest.mark.parametrize(
    "text",
    [
        "def walk(m):\n    for c in m.children():\n        walk(c)\n",
        "class A:\n    def walk(self, m):\n        return [self.walk(c) for c in m.children()]\n",
        "def f(m):\n    def inner(x):\n        return map(inner, x.children())\n    inner(m)\n",
        "todo = [m]\nwhile todo:\n    todo += todo.pop().children()\n",
    ],
)
def test_down_the_tree(text: str) -> None:
    program, call = found(text)
    assert goes_down(module_of(program), call)


def test_one_level() -> None:
    program, call = found("def f(m):\n    return [g(c) for c in m.children()]\nf(1)\n")
    assert not goes_down(module_of(program), call)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("next(m.children())", "next(m.children())"),
        ("next(iter(m.children()), None)", "next(iter(m.children()), None)"),
        ("list(m.children())[0]", "list(m.children())[0]"),
        ("list(m.children())[-1].eval()", "list(m.children())[-1]"),
        ("list(m.children())[1]", None),
        ("list(m.children())", None),
        ("list(m.children())[:1]", None),
    ],
)
def test_the_first(text: str, taken: str | None) -> None:
    program, call = found(text)
    first = taken_first(module_of(program), call)
    assert (ast.unparse(first) if first is not None else None) == taken


@pytest.mark.parametrize(
    ("text", "is_unread"),
    [
        ("for _, c in m.named_children():\n    c.eval()\n", True),
        ("for n, c in m.named_children():\n    print(n)\n", False),
        ("x = [c for n, c in m.named_children()]\n", True),
        ("x = dict(m.named_children())\n", False),
        ("for pair in m.named_children():\n    print(pair)\n", False),
    ],
)
def test_the_name_beside(text: str, is_unread: bool) -> None:
    program, call = found(text)
    assert (name_beside(module_of(program), call) is not None) is is_unread
