"""How new code is spelled beside what stands in a file."""

from __future__ import annotations

import ast

from fsdp_migrate.findings.code import Name, qualified
from fsdp_migrate.findings.spelling import local_names
from fsdp_migrate.syntax.module import Module, names_bound_by, scope_nodes
from fsdp_migrate.syntax.nodes import nodes_in


def spelled(module: Module, dotted: str) -> Name:
    """A library's name as the file has it already, otherwise with its module in front."""
    home, _, name = dotted.rpartition(".")
    taken_from = any(
        isinstance(node, ast.ImportFrom) and node.module == home and not node.level
        for node in module.tree.body
    )
    whole = any(
        isinstance(node, ast.Import) and any(alias.name == home for alias in node.names)
        for node in module.tree.body
    )
    by_name = local_names(module, home, name) or (taken_from and not whole)
    return Name(home, name) if by_name else qualified(dotted)


def names_beside(module: Module) -> frozenset[str]:
    """The names that a function at the top level of a file has to differ from: all but those that
    stand in classes, which are reached through an object only."""
    found: set[str] = set()
    scopes = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    for scope in nodes_in(module.tree):
        if isinstance(scope, scopes):
            found |= {name for node in scope_nodes(scope) for name in names_bound_by(node)}
    return frozenset(found)
