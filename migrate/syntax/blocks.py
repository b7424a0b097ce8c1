"""Blocks of statements: which statements of one block two places are in."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.syntax.module import Module

DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def common_block(
    module: Module, one: ast.stmt, other: ast.stmt
) -> tuple[ast.stmt, ast.stmt] | None:
    """The statements around `one` and `other` in the same block, if the first comes first."""
    around: dict[int, ast.stmt] = {}
    for node in _up_to_definition(module, other):
        around[id(module.block(node))] = node
    for node in _up_to_definition(module, one):
        block = module.block(node)
        partner = around.get(id(block))
        if partner is not None:
            comes_first = partner is not node and block.index(node) < block.index(partner)
            return (node, partner) if comes_first else None
    return None


def _up_to_definition(module: Module, statement: ast.stmt) -> Iterator[ast.stmt]:
    """`statement` and those around it, up to the function or class that it stands in."""
    for node in (statement, *module.ancestors(statement)):
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, DEFINITIONS):
            return


def blocks_run_once(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of a statement that has some, and runs each of them once at most."""
    if isinstance(statement, ast.If | ast.With | ast.Try):
        yield statement.body
    if isinstance(statement, ast.Try):
        yield from (handler.body for handler in statement.handlers)
    if isinstance(statement, ast.If | ast.Try):
        yield statement.orelse
    if isinstance(statement, ast.Try):
        yield statement.finalbody


def shares_line(module: Module, statement: ast.stmt) -> bool:
    """Whether another statement of the block starts or ends on the lines of `statement`."""
    lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    return any(
        other.lineno in lines or other.end_lineno in lines
        for other in module.block(statement)
        if other is not statement
    )
