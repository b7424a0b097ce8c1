"""Expressions that are the same whenever they are looked at, so that a function can do it later."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import bindings, definition, scope_of
from fsdp_migrate.analysis.values import ModuleRef, Symbol
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_DEFINED = (ast.alias, ast.FunctionDef, ast.ClassDef)
_PURE = ("builtins.", "functools.partial", "torch.device", f"{ROOT}.", "torch.dtype")


def is_steady(analysis: Analysis, module: Module, node: ast.AST) -> bool:
    """Whether `node`, apart from what is in it, gives the same at all times."""
    match node:
        case ast.Name():
            return _is_bound_once(module, node)
        case ast.Attribute(value=value, attr=name):
            fixed = analysis.value(value)
            if fixed and all(isinstance(atom, ModuleRef | Symbol) for atom in fixed):
                return True
            return not _is_set(analysis, name)
        case ast.Call(func=callee):
            called = analysis.value(callee)
            return bool(called) and all(
                isinstance(atom, Symbol) and atom.name.startswith(_PURE) for atom in called
            )
        case ast.Subscript(value=ast.Name() as table):
            return _is_constant_table(module, table)
        case ast.Subscript() | ast.Starred() | ast.NamedExpr() | ast.JoinedStr():
            return False
    return True


def _is_bound_once(module: Module, name: ast.Name) -> bool:
    """Whether a variable is given its value once, or is a class, a function or a module."""
    scope = scope_of(module, name)
    if is_of_comprehension(module, name):
        return False
    if scope is None:
        return True
    bound = list(bindings(scope, name.id))
    if all(isinstance(each, _DEFINED) for each in bound):
        return True
    return len(bound) == 1 and not _is_in_loop(module, bound[0])


def _is_constant_table(module: Module, table: ast.Name) -> bool:
    """Whether a variable is a dict that is written out, and never filled."""
    found = definition(module, table)
    return (
        found is not None
        and isinstance(found.value, ast.Dict)
        and isinstance(scope_of(module, table), ast.Module)
        and not any(_fills(module, node, table.id) for node in module.parents)
    )


def _fills(module: Module, node: ast.AST, name: str) -> bool:
    """Whether something is put into the variable of that name, or it is handed on."""
    if not isinstance(node, ast.Name) or node.id != name:
        return False
    around = module.parents[node]
    if isinstance(around, ast.Subscript):
        return not isinstance(around.ctx, ast.Load)
    reads = ("get", "items", "keys", "values")
    kept = isinstance(around, ast.Attribute) and around.attr in reads
    return isinstance(node.ctx, ast.Load) and not kept


def is_local(module: Module, name: ast.Name) -> bool:
    """Whether a name is a variable of a function or a comprehension, and not of the file."""
    if is_of_comprehension(module, name):
        return True
    scope = scope_of(module, name)
    return scope is not None and not isinstance(scope, ast.Module)


def is_of_comprehension(module: Module, name: ast.Name) -> bool:
    """Whether a name is a variable of a comprehension around it."""
    return any(
        isinstance(inner, ast.Name) and inner.id == name.id
        for around in module.ancestors(name)
        for clause in getattr(around, "generators", ())
        for inner in nodes_in(clause.target)
    )


def _is_in_loop(module: Module, bound: ast.AST) -> bool:
    """Whether a variable may be bound again by the same statement."""
    for around in module.ancestors(bound):
        if isinstance(around, _FUNCTIONS):
            return False
        if isinstance(around, _LOOPS):
            return True
    return False


def _is_set(analysis: Analysis, name: str) -> bool:
    """Whether an attribute of that name is set outside of what sets objects up."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == name
        and not isinstance(node.ctx, ast.Load)
        and getattr(module.function(node), "name", "") != "__init__"
        for module in analysis.project.modules.values()
        for node in module.parents
    )
