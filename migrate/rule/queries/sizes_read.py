"""What is done with the size or the shape of a parameter: it decides something, or is printed."""

from __future__ import annotations

import ast

from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import called, feeds
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

PRINTING = frozenset({"builtins.print", "builtins.repr", "builtins.str"})
LOGGING = frozenset({"critical", "debug", "error", "exception", "info", "log", "warning"})


def decides(scope: ast.AST, sizes: set[ast.AST], names: set[str]) -> bool:
    """Whether a comparison in `scope` reads one of `sizes`, or of the variables made of them.

    Whether something is empty is asked of shards, and nothing is decided by it for whole tensors.
    """
    return any(
        isinstance(node, ast.Compare) and feeds(node, sizes, names) and not _is_of_nothing(node)
        for node in nodes_in(scope)
    )


def is_shown(facts: Facts, module: Module, node: ast.AST) -> bool:
    """Whether `node` is part of what is printed or logged."""
    for around in module.ancestors(node):
        if isinstance(around, ast.FormattedValue):
            return True
        if isinstance(around, ast.Call):
            if called(facts, around) & PRINTING:
                return True
            if isinstance(around.func, ast.Attribute) and around.func.attr in LOGGING:
                return True
        if isinstance(around, ast.stmt):
            return False
    return False


def _is_of_nothing(node: ast.Compare) -> bool:
    return any(isinstance(c, ast.Constant) and c.value == 0 for c in (node.left, *node.comparators))
