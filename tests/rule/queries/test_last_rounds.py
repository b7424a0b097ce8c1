"""Tests that hold in the last round of a loop."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.last_rounds import holds_at_last
from fsdp_migrate.syntax.nodes import nodes_in
from support.facts import Program


def holds(loop: str, test: str, body: str = "pass", *, negated: bool = False) -> bool:
    """Whether `test` holds in the last round of `loop`."""
    program = Program(f"n = int(input())\nfor {loop}:\n    if {test}:\n        {body}\n")
    module = program.module()
    (found,) = [node for node in nodes_in(module.tree) if isinstance(node, ast.For)]
    (inside,) = [node for node in nodes_in(found) if isinstance(node, ast.If)]
    return holds_at_last(program.facts, module, found, inside.test, negated=negated)


@pytest.mark.parametrize(
    ("loop", "test"),
    [
        ("k in range(n)", "k == n - 1"),
        ("k in range(n)", "k + 1 == n"),
        ("k in range(n)", "not k < n - 1"),
        ("k in range(n)", "k >= n - 1"),
        ("k in range(4)", "k == 3"),
        ("k in range(4)", "k + 1 == 4"),
        ("k in range(cfg.steps)", "k == cfg.steps - 1"),
    ],
)
def test_the_last_round(loop: str, test: str) -> None:
    assert holds(loop, test)
    assert not holds(loop, test, negated=True)


@pytest.mark.parametrize("test", ["k != n - 1", "k < n - 1", "k + 1 < n", "not k == n - 1"])
def test_all_rounds_but_the_last(test: str) -> None:
    assert holds("k in range(n)", test, negated=True)
    assert not holds("k in range(n)", test)


@pytest.mark.parametrize(
    ("loop", "test", "body"),
    [
        ("k in range(n)", "k == n", "pass"),
        ("k in range(n)", "k == n - 2", "pass"),
        ("k in range(1, n)", "k == n - 1", "pass"),
        ("k in range(n + 1)", "k == n", "pass"),
        ("k in [0, 1]", "k == 1", "pass"),
        ("k, x in enumerate(n)", "k == n - 1", "pass"),
        ("k in range(n)", "k == n - 1", "n = 3"),
        ("k in range(n)", "k == n - 1", "k = 3"),
        ("k in range(4)", "k == 4", "pass"),
        ("k in range(n)", "0 < k == n - 1", "pass"),
    ],
)
def test_nothing_that_is_known(loop: str, test: str, body: str) -> None:
    assert not holds(loop, test, body)
    assert not holds(loop, test, body, negated=True)
