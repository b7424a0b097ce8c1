"""Whether what is done with a function that is taken as a value is to call it, and no more."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Func
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import called
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

# Functions of libraries that call what they are given, and look at nothing else of it.
CALLERS = frozenset(
    {
        "builtins.map",
        "functools.partial",
        "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.checkpoint",
        "torch.utils.checkpoint.checkpoint",
    }
)
_DEPTH = 4


def is_only_called(facts: Facts, module: Module, node: ast.expr, depth: int = 0) -> bool:
    """Whether the value of `node` is only called: here, by another name, or by who is given it."""
    if depth > _DEPTH:
        return False
    parent = module.parents[node]
    around: ast.AST
    if isinstance(parent, ast.IfExp) and node is not parent.test:
        return is_only_called(facts, module, parent, depth)
    if isinstance(parent, ast.Dict) and node in parent.values:
        around = module.parents[parent]
        if not isinstance(around, ast.Subscript) or around.value is not parent:
            return False
        return is_only_called(facts, module, around, depth)
    if isinstance(parent, ast.Assign) and parent.value is node and len(parent.targets) == 1:
        return _by_name(facts, module, parent.targets[0], depth)
    if isinstance(parent, ast.keyword):
        around = module.parents[parent]
        return isinstance(around, ast.Call) and _is_given(facts, around, parent.arg, None, depth)
    if not isinstance(parent, ast.Call):
        return False
    if parent.func is node:
        return True
    return node in parent.args and _is_given(facts, parent, None, node, depth)


def _by_name(facts: Facts, module: Module, target: ast.expr, depth: int) -> bool:
    """Whether a local variable is bound for this alone, and only called."""
    if not isinstance(target, ast.Name):
        return False
    scope = module.scope(target)
    if isinstance(scope, ast.Module) and _is_read_elsewhere(facts, module, target.id):
        return False
    same = [n for n in nodes_in(scope) if isinstance(n, ast.Name) and n.id == target.id]
    declared = any(
        isinstance(n, ast.Global | ast.Nonlocal) and target.id in n.names for n in nodes_in(scope)
    )
    reads = [n for n in same if isinstance(n.ctx, ast.Load)]
    return not declared and all(is_only_called(facts, module, n, depth + 1) for n in reads)


def _is_read_elsewhere(facts: Facts, module: Module, name: str) -> bool:
    """Whether another file may read a variable of a module."""
    return any(
        (isinstance(node, ast.alias) and node.name in (name, "*"))
        or (isinstance(node, ast.Attribute) and node.attr == name)
        for other in facts.analysis.project.modules.values()
        if other is not module
        for node in other.parents
    )


def _is_given(
    facts: Facts, call: ast.Call, keyword: str | None, node: ast.expr | None, depth: int
) -> bool:
    """Whether who is given a function by a call only calls it."""
    names = called(facts, call)
    if names:
        first = call.args[:1] == [node] or keyword in ("function", "func")
        return first and names <= CALLERS
    value = facts.value(call.func)
    if not value or not all(isinstance(atom, Func) for atom in value):
        return False
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return False
    position = call.args.index(node) if node is not None else None
    return all(
        _parameter_is_called(facts, atom, keyword, position, depth)
        for atom in value
        if isinstance(atom, Func)
    )


def _parameter_is_called(
    facts: Facts, atom: Func, keyword: str | None, position: int | None, depth: int
) -> bool:
    info = facts.analysis.functions.get(atom.site)
    if info is None or not isinstance(info.node, ast.FunctionDef):
        return False
    args = info.node.args
    every = [*args.posonlyargs, *args.args]
    if position is not None:
        name = every[position].arg if position < len(every) else None
    else:
        name = keyword if keyword in {a.arg for a in (*every, *args.kwonlyargs)} else None
    if name is None:
        return False
    reads = list(_reads(info.node, name))
    return all(is_only_called(facts, info.module, read, depth + 1) for read in reads)


def _reads(function: ast.FunctionDef, name: str) -> Iterator[ast.Name]:
    for statement in function.body:
        for node in nodes_in(statement):
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
                yield node
