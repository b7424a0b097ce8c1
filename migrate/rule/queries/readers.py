"""Who reads what a call gives."""

from __future__ import annotations

import ast

from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.values import library_name
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

# What can read every variable of a function without naming one.
READS_ALL = frozenset({"builtins.eval", "builtins.exec", "builtins.locals"})


def is_read(facts: Facts, module: Module, call: ast.Call) -> bool:
    """Whether something may look at the result of `call`."""
    parent = module.parents[call]
    if isinstance(parent, ast.Expr):
        return False
    function = module.function(call)
    if not isinstance(parent, ast.Assign) or function is None:
        return True
    names = {target.id for target in parent.targets if isinstance(target, ast.Name)}
    return len(names) < len(parent.targets) or any(
        _reads(facts, node, names) for node in nodes_in(function)
    )


def _reads(facts: Facts, node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names and isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Global | ast.Nonlocal):
        return not names.isdisjoint(node.names)
    return isinstance(node, ast.Call) and library_name(facts.value(node.func)) in READS_ALL
