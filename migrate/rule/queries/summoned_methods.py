"""Functions of the program's own that run where parameters are whole."""

from __future__ import annotations

import ast
from collections.abc import Collection

from fsdp_migrate.analysis.values import Bound, Cls, Func, Instance, Params, Result, Unknown, Value
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

DEEP = 4


def has_nothing_to_do_with(
    facts: Facts, call: ast.Call, models: Collection[object], depth: int = 0
) -> bool:
    """Whether a call of a function of the program's is given no parameter, and looks at none.

    The names of parameters are text, as any other.
    """
    value = facts.value(call.func)
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if depth > DEEP or any(_is_of_models(facts.value(node), models) for node in given):
        return False
    for atom in value:
        info = facts.analysis.functions.get(atom.site) if isinstance(atom, Func) else None
        if info is None:
            return False
        for node in nodes_in(info.node):
            if _is_of_models(facts.value(node), models):
                return False
            if isinstance(node, ast.Call) and not _is_harmless(facts, node, models, depth):
                return False
    return bool(value)


def _is_harmless(facts: Facts, call: ast.Call, models: Collection[object], depth: int) -> bool:
    value = facts.value(call.func)
    if any(isinstance(atom, Func | Bound | Cls) for atom in value):
        return has_nothing_to_do_with(facts, call, models, depth + 1)
    unknown = any(isinstance(atom, Unknown) for atom in value)
    return isinstance(call.func, ast.Attribute) or not unknown


def _is_of_models(value: Value, models: Collection[object]) -> bool:
    return any(
        atom in models or (isinstance(atom, Params) and atom.kind != "name") for atom in value
    )


def uses_parts(facts: Facts, method: Site, depth: int = 0) -> bool:
    """Whether a method of a model may use its parameters or parts, but by calling the model."""
    info = facts.analysis.functions[method]
    names = [*info.node.args.posonlyargs, *info.node.args.args]
    if not names or depth > DEEP:
        return True
    own = names[0].arg
    for node in nodes_in(info.node):
        if isinstance(node, ast.Name) and node.id == own and not _is_asked(info.module, node):
            return True
        if not isinstance(node, ast.Attribute) or path_of(node.value) != own:
            continue
        value = facts.value(node)
        methods = [atom.func.site for atom in value if isinstance(atom, Bound)]
        if not methods and not _is_no_module(value):
            return True
        if node.attr == "forward" or any(uses_parts(facts, site, depth + 1) for site in methods):
            return True
    return False


def runs_whole_parts(facts: Facts, method: Site, depth: int = 0) -> bool:
    """Whether a method of a model does nothing with its parts but to call them, one by one.

    Those that are units gather themselves; parameters of the model's own are whole anyway.
    """
    info = facts.analysis.functions[method]
    names = [*info.node.args.posonlyargs, *info.node.args.args]
    if not names or depth > DEEP:
        return False
    own = names[0].arg
    return all(
        _is_whole(facts, info.module, node, depth)
        for node in nodes_in(info.node)
        if isinstance(node, ast.Attribute) and path_of(node.value) == own
    ) and not any(
        isinstance(node, ast.Name) and node.id == own and not _is_asked(info.module, node)
        for node in nodes_in(info.node)
    )


def _is_asked(module: Module, node: ast.Name) -> bool:
    """Whether `self` is called, or asked for an attribute."""
    parent = module.parents[node]
    return isinstance(parent, ast.Attribute) or (
        isinstance(parent, ast.Call) and parent.func is node
    )


def _is_whole(facts: Facts, module: Module, node: ast.expr, depth: int) -> bool:
    """Whether a part of the model is called, gone through to be called, or no module at all."""
    parent = module.parents[node]
    value = facts.value(node)
    if isinstance(parent, ast.Call) and parent.func is node:
        methods = [atom.func.site for atom in value if isinstance(atom, Bound)]
        return all(runs_whole_parts(facts, site, depth + 1) for site in methods)
    if isinstance(parent, ast.For | ast.comprehension) and parent.iter is node:
        names = {n.id for n in nodes_in(parent.target) if isinstance(n, ast.Name)}
        scope = module.function(node)
        return scope is not None and all(
            isinstance(call := module.parents[n], ast.Call) and call.func is n
            for n in nodes_in(scope)
            if isinstance(n, ast.Name) and n.id in names and isinstance(n.ctx, ast.Load)
        )
    return _is_no_module(value)


def _is_no_module(value: Value) -> bool:
    """Whether a value is certainly neither a module nor a parameter."""
    return not any(
        isinstance(atom, Instance | Params | Unknown)
        or (isinstance(atom, Result) and atom.symbol.startswith("torch.nn."))
        for atom in value
    )
