"""Expressions that are the same whenever they are looked at."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.steady import is_steady
from fsdp_migrate.syntax.nodes import nodes_in
from support.wraps import solved

TABLE = "T = {'a': 1}\n"
CLASS = "class A:\n    def __init__(self):\n        self.x = 1\n"
SHOWN = "    def f(self):\n        show(self.x)\n"


def steady(text: str) -> bool:
    """Whether the argument of the call of `print` in `text` is."""
    program = solved(text)
    module = program.solver.project.modules["/project/train"]
    (call,) = (
        node
        for node in module.parents
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "show"
    )
    return all(is_steady(program.solver, module, node) for node in nodes_in(call.args[0]))


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\nshow(x)\n",
        "def f(x):\n    show(x)\n",
        "show(torch.bfloat16)\n",
        "show(MixedPrecision(param_dtype=torch.bfloat16))\n",
        f"{TABLE}def f(x):\n    show(T[x])\n",
        CLASS + SHOWN,
    ],
)
def test_what_nothing_changes_is_steady(text: str) -> None:
    assert steady(text)


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\nshow(x)\nx = 2\n",
        "for x in range(2):\n    show(x)\n",
        "[show(x) for x in range(2)]\n",
        "show(input().strip())\n",
        f"{TABLE}T['b'] = 2\nshow(T['a'])\n",
        f"{TABLE}input(T)\nshow(T['a'])\n",
        "def f(t):\n    show(t['a'])\n",
        CLASS + "    def g(self):\n        self.x = 2\n" + SHOWN,
    ],
)
def test_what_may_change_is_not(text: str) -> None:
    assert not steady(text)
