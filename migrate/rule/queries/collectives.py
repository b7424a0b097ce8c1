"""Calls that communicate between the ranks, and the tests of a rank around them."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import Const, Result, symbols
from fsdp_migrate.rule.rule import Facts
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module

PACKAGE = "torch.distributed."
SUM = frozenset({f"{PACKAGE}ReduceOp.SUM", f"{PACKAGE}distributed_c10d.ReduceOp.SUM"})
RANK = f"{PACKAGE}get_rank"
# What launchers and `spawn` hand a program by these names.
FROM_LAUNCHER = frozenset({"rank", "local_rank", "global_rank"})


def collective(facts: Facts, call: ast.Call) -> str | None:
    """The function of `torch.distributed` that `call` calls, without the module; or None."""
    names = {n for n in symbols(facts.value(call.func)) if n.startswith(PACKAGE)}
    return short(min(names)) if names else None


def is_sum(facts: Facts, node: ast.expr) -> bool:
    """Whether the reduction that `node` names adds up."""
    value = facts.value(node)
    return bool(value) and symbols(value) <= SUM and len(symbols(value)) == len(value)


def is_rank(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is the number of the process: asked for, or handed in under that name."""
    value = facts.value(node)
    if any(isinstance(atom, Result) and atom.symbol == RANK for atom in value):
        return True
    if any(isinstance(atom, Const) for atom in value):
        return False
    if isinstance(node, ast.Attribute):
        return node.attr in FROM_LAUNCHER
    return isinstance(node, ast.Name) and node.id in FROM_LAUNCHER and not _counts(module, node)


def _counts(module: Module, node: ast.Name) -> bool:
    """Whether the variable that `node` names is that of a loop."""
    scope = scope_of(module, node)
    bound = list(bindings(scope, node.id)) if scope is not None else []
    return any(
        isinstance(module.parents[binding], ast.For | ast.AsyncFor | ast.comprehension)
        or isinstance(module.statement(binding), ast.For | ast.AsyncFor)
        for binding in bound
        if isinstance(binding, ast.Name)
    )
