"""Where a variable gets its value, and who else reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import cast

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.syntax.module import Module, Scope, scope_nodes
from fsdp_migrate.syntax.nodes import nodes_in


class Annotated(ast.AnnAssign):
    """An annotated assignment that has a value, as types see it."""

    value: ast.expr


Assignment = ast.Assign | Annotated
Definition = Assignment | ast.FunctionDef  # of a variable or function that a fix may remove


def scope_of(module: Module, node: ast.Name) -> Scope | None:
    """The scope that binds the variable `node` names, or None if none here does."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
    for scope in module.ancestors(node):
        if isinstance(scope, kinds) and any(bindings(scope, node.id)):
            return scope
    return None


def bindings(scope: Scope, name: str) -> Iterator[ast.AST]:
    """The nodes that bind the variable `name` in `scope` itself."""
    if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        yield from (a for a in nodes_in(scope.args) if isinstance(a, ast.arg) and a.arg == name)
    for node in scope_nodes(scope):
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
            yield node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name == name:
                yield node
        elif isinstance(node, ast.alias):
            if (node.asname or node.name.partition(".")[0]) == name:
                yield node


def definition(module: Module, node: ast.Name) -> Assignment | None:
    """The assignment that alone binds the variable `node` names, annotated or not, or None."""
    found = definitions(module, node)
    return found[0] if len(found) == 1 else None


def definitions(module: Module, node: ast.Name) -> list[Assignment]:
    """The assignments that alone bind the variable `node` names; none if others do as well."""
    scope = scope_of(module, node)
    bound = list(bindings(scope, node.id)) if scope is not None else []
    found = [_assignment(module.parents.get(target), target) for target in bound]
    known = [each for each in found if each is not None]
    return known if len(known) == len(found) else []


def _assignment(statement: ast.AST | None, target: ast.AST) -> Assignment | None:
    if isinstance(statement, ast.Assign) and statement.targets == [target]:
        return statement
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return cast(Annotated, statement)
    return None


def target_of(statement: Assignment) -> ast.expr:
    """What a `definition` binds."""
    return statement.targets[0] if isinstance(statement, ast.Assign) else statement.target


def removable(
    analysis: Analysis, module: Module, statement: Definition, absorbed: set[ast.AST]
) -> bool:
    """Whether nothing but the nodes in `absorbed` reads what `statement` defines."""
    if isinstance(statement, ast.FunctionDef):
        name, target, scope = statement.name, None, module.scope(statement)
    else:
        target = target_of(statement)
        assert isinstance(target, ast.Name)
        name, scope = target.id, scope_of(module, target) or module.tree
    for node in nodes_in(scope):
        if isinstance(node, ast.Name) and node.id == name:
            if node is not target and node not in absorbed and not _is_bound(module, node):
                return False
        if isinstance(node, ast.Constant) and node.value == name:
            return False  # listed in `__all__`, or looked up by name
    return not isinstance(scope, ast.Module) or not is_imported(analysis, module, name)


def _is_bound(module: Module, node: ast.Name) -> bool:
    """Whether an assignment gives a name a value, which reads nothing."""
    return _assignment(module.parents.get(node), node) is not None and not isinstance(
        node.ctx, ast.Load
    )


def is_imported(analysis: Analysis, module: Module, name: str) -> bool:
    """Whether another module of the project imports `name` from `module`."""
    return any(
        isinstance(node, ast.ImportFrom)
        and any(alias.name in (name, "*") for alias in node.names)
        and analysis.project.resolve(other, node.module or "", node.level) == module.name
        for other in analysis.project.modules.values()
        if other is not module
        for node in nodes_in(other.tree)
    )
