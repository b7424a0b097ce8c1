"""Whether a place runs before a wrap."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.running_order import may_run_before, runs_only_before
from fsdp_migrate.lowering.steps import steps_outwards
from support.programs import Analysis

HEAD = """\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def mark(net):
    here(net)


def wrap(net):
    return FSDP(net)


"""


def order(body: str) -> tuple[bool, bool]:
    """Whether the call of `here` runs only before the wrap, and whether it may."""
    program = Analysis(HEAD + body)
    module = program.module()
    (fact,) = program.solver.wraps.values()
    (place,) = (
        node
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "here"
    )
    calls = program.solver.call_graph
    steps = list(steps_outwards(calls, module, fact.node, frozenset()))
    return (
        runs_only_before(calls, module, place, steps),
        may_run_before(calls, module, place, steps),
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("mark(1)\nwrap(1)\n", (True, True)),
        ("wrap(1)\nmark(1)\n", (False, False)),
        ("mark(1)\nwrap(1)\nmark(1)\n", (False, True)),
        ("wrap(mark(1))\n", (True, True)),
        ("def main():\n    mark(1)\n    return wrap(1)\n", (True, True)),
        ("wrap(1)\n", (False, True)),
    ],
)
def test_order(body: str, expected: tuple[bool, bool]) -> None:
    assert order(body) == expected
