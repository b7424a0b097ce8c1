"""The opposite of a test, written as a person would write it."""

from __future__ import annotations

import ast
from collections.abc import Callable

from fsdp_migrate.findings.code import Code, Kept, Part, both, code, either
from fsdp_migrate.syntax.module import Module

_FLIPPED: dict[type[ast.cmpop], Callable[[Part, Part], Code]] = {
    ast.Eq: lambda left, right: code("{left} != {right}", left=left, right=right),
    ast.NotEq: lambda left, right: code("{left} == {right}", left=left, right=right),
    ast.Lt: lambda left, right: code("{left} >= {right}", left=left, right=right),
    ast.LtE: lambda left, right: code("{left} > {right}", left=left, right=right),
    ast.Gt: lambda left, right: code("{left} <= {right}", left=left, right=right),
    ast.GtE: lambda left, right: code("{left} < {right}", left=left, right=right),
    ast.Is: lambda left, right: code("{left} is not {right}", left=left, right=right),
    ast.IsNot: lambda left, right: code("{left} is {right}", left=left, right=right),
    ast.In: lambda left, right: code("{left} not in {right}", left=left, right=right),
    ast.NotIn: lambda left, right: code("{left} in {right}", left=left, right=right),
}


def opposite(module: Module, test: ast.expr) -> Part:
    """What holds where `test` does not."""
    if isinstance(test, ast.BoolOp) and any(_simpler(module, value) for value in test.values):
        if not any(isinstance(value, ast.BoolOp) for value in test.values):
            parts = [_negation(module, value) for value in test.values]
            return either(*parts) if isinstance(test.op, ast.And) else both(*parts)
    return _negation(module, test)


def _negation(module: Module, test: ast.expr) -> Part:
    return _simpler(module, test) or code("not {test}", test=Kept(module.span(test)))


def _simpler(module: Module, test: ast.expr) -> Part | None:
    """The opposite of `test` without a `not` in front, if it has one."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return Kept(module.span(test.operand))
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        flipped = _FLIPPED[type(test.ops[0])]
        return flipped(Kept(module.span(test.left)), Kept(module.span(test.comparators[0])))
    return None
