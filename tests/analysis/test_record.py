"""What runs leave behind."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.record import NO_MODE, Record
from fsdp_migrate.analysis.values import NOTHING, Const
from fsdp_migrate.syntax.span import Site

ONE, TWO = frozenset({Const.of(1)}), frozenset({Const.of(2)})
SITE = Site("/project/train", 1, 0, 1, 3)


def call() -> ast.Call:
    node = ast.parse("f()", mode="eval").body
    assert isinstance(node, ast.Call)
    return node


def test_values_are_joined_over_runs() -> None:
    record, node = Record(), call()
    assert record.value(node) == NOTHING
    assert record.note(node, ONE) == ONE
    assert record.note(node, TWO) == ONE | TWO
    assert record.value(node) == ONE | TWO


def test_a_node_that_was_reached_without_a_value_is_known() -> None:
    record, node = Record(), call()
    record.note(node, NOTHING)
    assert node in record.values


def test_of_a_call_the_last_arguments_and_all_modes() -> None:
    record, node = Record(), call()
    record.note_call(SITE, node, ([ONE], {}), NO_MODE)
    record.note_call(SITE, node, ([TWO], {}), frozenset({SITE}))
    assert record.calls[SITE] == ([TWO], {})
    assert record.call_nodes[SITE] is node
    assert record.open_modes[node] == {None, SITE}
