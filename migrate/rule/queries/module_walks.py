"""How the children of a module are read: one of them, all, or all the way down."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.model_attributes import is_of_inner
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

_LISTS = frozenset({"list", "tuple"})


def takes_inner(facts: Facts, module: Module, call: ast.Call) -> bool:
    """Whether what is read is the one child that FSDP1's wrapper had, the module inside.

    The model is known, the name of the child is not read, and nothing goes on to the children of
    the child.
    """
    if not isinstance(call.func, ast.Attribute) or goes_down(module, call):
        return False
    model = call.func.value
    value = facts.value(model)
    if not value or not all(isinstance(atom, Wrapped) for atom in value):
        return False
    if is_of_inner(facts, module, model):
        return False
    return call.func.attr != "named_children" or name_beside(module, call) is not None


def goes_down(module: Module, call: ast.Call) -> bool:
    """Whether the place is run again for what it finds: in a recursion, or in a loop of its own."""
    function = module.function(call)
    if any(isinstance(around, ast.While) for around in module.ancestors(call)):
        return True
    while isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        if any(_names(inner, function.name) for inner in nodes_in(function)):
            return True
        function = module.function(module.parents[function])
    return False


def taken_first(module: Module, call: ast.Call) -> ast.expr | None:
    """The expression around `call` that takes the first or the last of what it gives."""
    around = module.parents[call]
    if not isinstance(around, ast.Call) or around.args[:1] != [call]:
        return None
    if _called(around) == "next":
        return around
    item = module.parents[around]
    if _called(around) == "iter" and isinstance(item, ast.Call) and _called(item) == "next":
        return item
    if _called(around) in _LISTS and isinstance(item, ast.Subscript) and item.value is around:
        index = item.slice
        if isinstance(index, ast.UnaryOp) and isinstance(index.op, ast.USub):
            index = index.operand
            return item if isinstance(index, ast.Constant) and index.value == 1 else None
        return item if isinstance(index, ast.Constant) and index.value == 0 else None
    return None


def name_beside(module: Module, call: ast.Call) -> tuple[ast.expr, ast.expr] | None:
    """The target of a loop over names and children, and the child in it; None if both are read."""
    loop = module.parents[call]
    if not isinstance(loop, ast.For | ast.comprehension) or loop.iter is not call:
        return None
    target = loop.target
    if not isinstance(target, ast.Tuple) or len(target.elts) != 2:
        return None
    name, child = target.elts
    if not isinstance(name, ast.Name):
        return None
    read = any(
        isinstance(n, ast.Name) and n.id == name.id and isinstance(n.ctx, ast.Load)
        for n in nodes_in(module.scope(call))
    )
    return None if read else (target, child)


def _names(node: ast.AST, name: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == name) or (
        isinstance(node, ast.Attribute) and node.attr == name
    )


def _called(call: ast.Call) -> str:
    func = call.func
    if isinstance(func, ast.Name):
        return func.id
    return func.attr if isinstance(func, ast.Attribute) else ""
