"""What a decorator of the project's own makes of a function.

Most hand the function back, or a wrapper that only passes its arguments on: the name then stands
for the function itself.  Others change what comes out of it.
"""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.values import (
    Bound,
    Cls,
    Func,
    Instance,
    Partial,
    Value,
    join,
    ordered,
)
from fsdp_migrate.syntax.module import scope_nodes

OWN = Bound | Cls | Func | Instance | Partial


def decorated(machine: Machine, nodes: list[ast.expr], function: Value) -> Value:
    """What the name of `function` stands for below its decorators."""
    for node in reversed(nodes):
        decorators = [a for a in ordered(machine.record.value(node)) if isinstance(a, OWN)]
        found = join(*(_applied(machine, atom, function) for atom in decorators))
        if found and not function & found:
            function = found
    return function


def _applied(machine: Machine, decorator: OWN, function: Value) -> Value:
    site = decorator.site if isinstance(decorator, Func) else None
    info = machine.program.functions[site] if site is not None else None
    if info is not None and passes_on(info):
        return function
    return machine.call(decorator, Passed([function]))


def passes_on(info: FunctionInfo) -> bool:
    """Whether a decorator gives a function that returns just what the decorated one returns."""
    if isinstance(info.node, ast.Lambda) or not info.positional:
        return False
    given = info.positional[0].arg
    inner = [n for n in scope_nodes(info.node) if isinstance(n, ast.FunctionDef)]
    returned = {
        n.value.id
        for n in scope_nodes(info.node)
        if isinstance(n, ast.Return) and isinstance(n.value, ast.Name)
    }
    wrappers = [node for node in inner if node.name in returned]
    return bool(wrappers) and all(_returns_call_of(node, given) for node in wrappers)


def _returns_call_of(wrapper: ast.FunctionDef, given: str) -> bool:
    """Whether all that `wrapper` returns comes from calls of `given`, or is nothing."""
    nodes = list(scope_nodes(wrapper))
    from_call = {
        target.id
        for n in nodes
        if isinstance(n, ast.Assign) and _is_call_of(n.value, given)
        for target in n.targets
        if isinstance(target, ast.Name)
    }
    others = {
        target.id
        for n in nodes
        if isinstance(n, ast.Assign) and not _is_call_of(n.value, given)
        for target in n.targets
        if isinstance(target, ast.Name)
    }
    values = [n.value for n in nodes if isinstance(n, ast.Return) and n.value is not None]
    return all(
        _is_call_of(value, given)
        or (isinstance(value, ast.Name) and value.id in from_call - others)
        or (isinstance(value, ast.Constant) and value.value is None)
        for value in values
    ) and not any(isinstance(n, ast.Yield | ast.YieldFrom) for n in nodes)


def _is_call_of(node: ast.expr, name: str) -> bool:
    """Whether `node` calls the function `name`, waiting for it or not."""
    if isinstance(node, ast.Await):
        node = node.value
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
