"""Where a value is written out: the ends of its way back through variables, branches and calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import bindings, is_imported, scope_of
from fsdp_migrate.analysis.values import Bound, Func
from fsdp_migrate.lowering.value_flow import Place
from fsdp_migrate.syntax.module import Module, scope_nodes


class _Open(Exception):
    """The value may come from somewhere that isn't written out."""


def leaves(analysis: Analysis, module: Module, node: ast.expr) -> tuple[Place, ...] | None:
    """The literals, calls and names of a library that `node` can be, if it can be nothing else.

    None where some of them are not to be seen: a parameter, an attribute, what a function returns
    that comes to its end.
    """
    try:
        found = {place.node: place for place in _leaves(analysis, module, node, frozenset())}
    except _Open:
        return None
    return tuple(found.values())


def _leaves(
    analysis: Analysis, module: Module, node: ast.expr, seen: frozenset[ast.AST]
) -> Iterator[Place]:
    if node in seen:
        return
    seen |= {node}
    match node:
        case ast.IfExp():
            yield from _leaves(analysis, module, node.body, seen)
            yield from _leaves(analysis, module, node.orelse, seen)
        case ast.Constant() | ast.Attribute():
            if isinstance(node, ast.Attribute) and len(analysis.value(node)) != 1:
                raise _Open
            yield Place(module, node)
        case ast.Name():
            for value in _assigned(analysis, module, node):
                yield from _leaves(analysis, module, value, seen)
        case ast.Call():
            called = analysis.value(node.func)
            methods = [a.func for a in called if isinstance(a, Bound)]
            functions = [*methods, *(a for a in called if isinstance(a, Func))]
            if not functions:
                yield Place(module, node)
            elif len(functions) < len(called):
                raise _Open
            for atom in functions:
                info = analysis.functions[atom.site]
                for value in _returned(info.node):
                    yield from _leaves(analysis, info.module, value, seen)
        case _:
            raise _Open


def _assigned(analysis: Analysis, module: Module, name: ast.Name) -> Iterator[ast.expr]:
    """What is assigned to a variable, if plain assignments are all that binds it."""
    scope = scope_of(module, name)
    if scope is None or (isinstance(scope, ast.Module) and is_imported(analysis, module, name.id)):
        raise _Open
    shared = (ast.Global, ast.Nonlocal)
    if any(isinstance(n, shared) and name.id in n.names for n in module.parents):
        raise _Open
    for bound in bindings(scope, name.id):
        statement = module.parents.get(bound)
        if not isinstance(statement, ast.Assign) or statement.targets != [bound]:
            raise _Open
        yield statement.value


def _returned(function: ast.AST) -> Iterator[ast.expr]:
    """What a function returns, if it always says."""
    if isinstance(function, ast.Lambda):
        yield function.body
        return
    plain = isinstance(function, ast.FunctionDef) and not function.decorator_list
    if not isinstance(function, ast.FunctionDef) or not plain or not _always_leaves(function.body):
        raise _Open
    for node in scope_nodes(function):
        if isinstance(node, ast.Yield | ast.YieldFrom):
            raise _Open
        if isinstance(node, ast.Return):
            if node.value is None:
                raise _Open
            yield node.value


def _always_leaves(body: list[ast.stmt]) -> bool:
    """Whether a function never gets below these statements."""
    match body[-1]:
        case ast.Return() | ast.Raise():
            return True
        case ast.If(body=yes, orelse=no):
            return bool(no) and _always_leaves(yes) and _always_leaves(no)
        case ast.With(body=inner):
            return _always_leaves(inner)
        case ast.Match(cases=cases):
            last = cases[-1]
            catches = last.guard is None and _catches_all(last.pattern)
            return catches and all(_always_leaves(case.body) for case in cases)
    return False


def _catches_all(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None
