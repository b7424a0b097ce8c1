"""Following a variable to the assignment that makes it, so that its value can stand elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.definitions import Assignment, bindings, definition, scope_of
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds_names


def followed(module: Module, node: ast.Name) -> Assignment | None:
    """The assignment that alone makes the variable, if its value means the same at `node`.

    It doesn't where a name in it is bound anew in between, or is another one at `node`, or where
    evaluating it binds a variable on the way.
    """
    found = definition(module, node)
    if found is None or binds_names(found.value):
        return None
    return found if all(is_same(module, n, node) for n in free_names(found.value)) else None


def free_names(node: ast.expr) -> Iterator[ast.Name]:
    """The names that `node` reads; those that it binds in lambdas and comprehensions too."""
    return (inner for inner in nodes_in(node) if isinstance(inner, ast.Name))


def is_same(module: Module, name: ast.Name, at: ast.expr) -> bool:
    """Whether `name` means at another place what it means where it stands."""
    scope = scope_of(module, name)
    if isinstance(scope, ast.Lambda) or _in_comprehension(module, name):
        return True
    if scope is not _scope_at(module, at, name.id):
        return False
    if scope is None:
        return True
    within = module.scope(at) is module.scope(name)
    return not any(
        name.lineno < bound.lineno and (not within or bound.lineno <= at.lineno)
        for bound in bindings(scope, name.id)
        if isinstance(bound, ast.Name)
    )


def _scope_at(module: Module, place: ast.AST, name: str) -> Scope | None:
    """The scope that binds `name` as `place` sees it."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
    for scope in module.ancestors(place):
        if isinstance(scope, kinds) and any(bindings(scope, name)):
            return scope
    return None


def _in_comprehension(module: Module, name: ast.Name) -> bool:
    """Whether `name` is a variable of a comprehension around it."""
    return any(
        isinstance(inner, ast.Name) and inner.id == name.id
        for around in module.ancestors(name)
        for clause in getattr(around, "generators", ())
        for inner in nodes_in(clause.target)
    )
