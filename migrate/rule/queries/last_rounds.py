"""Tests for the last round of a loop: `k == n - 1` in `for k in range(n)`."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Symbol
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import binds, path_of, reads, touches

LAST = (ast.Eq, ast.GtE)  # of the counter and the last number
BEFORE = (ast.NotEq, ast.Lt)


def holds_at_last(
    facts: Facts, module: Module, loop: ast.For, test: ast.expr, *, negated: bool = False
) -> bool:
    """Whether `test` holds in the last round of a loop, or doesn't if `negated`."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return holds_at_last(facts, module, loop, test.operand, negated=not negated)
    number = _number(facts, loop)
    if number is None or not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return False
    changed = frozenset().union(*map(binds, loop.body))
    if touches(changed, reads(test)):
        return False
    left, right = test.left, test.comparators[0]
    at_last = (_is(left, loop.target) and _is_one_less(right, number)) or (
        _is_one_more(left, loop.target) and _is(right, number)
    )
    return at_last and isinstance(test.ops[0], BEFORE if negated else LAST)


def _number(facts: Facts, loop: ast.For) -> ast.expr | None:
    """How many rounds a loop has that counts from zero."""
    call = loop.iter
    if not isinstance(call, ast.Call) or not isinstance(loop.target, ast.Name):
        return None
    if facts.value(call.func) != {Symbol("builtins.range")} or len(call.args) != 1:
        return None
    number = call.args[0]
    known = path_of(number) is not None or isinstance(number, ast.Constant)
    return number if known and not call.keywords else None


def _is(node: ast.expr, other: ast.expr) -> bool:
    paths = path_of(node), path_of(other)
    return paths[0] == paths[1] if None not in paths else same(node, other)


def _is_one_less(node: ast.expr, number: ast.expr) -> bool:
    if isinstance(node, ast.Constant) and isinstance(number, ast.Constant):
        return bool(node.value == _plus(number, -1))
    return isinstance(node, ast.BinOp) and (
        isinstance(node.op, ast.Sub) and _is(node.left, number) and _is_number(node.right, 1)
    )


def _is_one_more(node: ast.expr, counter: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and (
        isinstance(node.op, ast.Add) and _is(node.left, counter) and _is_number(node.right, 1)
    )


def _is_number(node: ast.expr, number: int) -> bool:
    return isinstance(node, ast.Constant) and node.value == number


def _plus(node: ast.Constant, number: int) -> int | None:
    return node.value + number if type(node.value) is int else None
