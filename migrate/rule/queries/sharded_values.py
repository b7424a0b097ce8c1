"""Parameters and gradients of FSDP models, and what is computed from them in a function."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Method, Params, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import called
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import path_of

TENSORS = frozenset({"data", "grad", "main_grad"})


def method_or_function(call: ast.Call) -> str:
    """The method that `call` asks for, or the function by the name that stands there."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else path_of(call.func) or ""


def sharded_models(facts: Facts, node: ast.expr) -> frozenset[Wrapped]:
    """The models of which `node` is a parameter, a gradient, optimizer state or the like."""
    if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        return frozenset()
    home = next((m for m in facts.analysis.project.modules.values() if node in m.parents), None)
    if home is None:
        return frozenset()
    if isinstance(node, ast.Subscript):
        return facts.sharded.models(home, node)
    found: set[Wrapped] = set()
    for atom in facts.value(node):
        if isinstance(atom, Method) and atom.name in TENSORS and isinstance(atom.receiver, Params):
            atom = atom.receiver
        if isinstance(atom, Params):
            found |= facts.sharded.wraps_of(home, node, atom)
    return frozenset(found)


def reduced(facts: Facts, call: ast.Call) -> ast.expr | None:
    """The parameter or gradient that `call` computes with first of all, if it does."""
    node: ast.expr = call
    while True:
        if isinstance(node, ast.Call):
            library = any(name.startswith("torch.") for name in called(facts, node))
            if library and node.args:
                node = node.args[0]
            elif isinstance(node.func, ast.Attribute):
                node = node.func.value
            else:
                return None
        elif isinstance(node, ast.Attribute) and not sharded_models(facts, node):
            node = node.value
        elif isinstance(node, ast.BinOp):
            node = node.left
        else:
            return node if sharded_models(facts, node) else None


def computed_from(scope: ast.AST, seeds: set[ast.Call]) -> set[str]:
    """The variables of `scope` that hold what is computed from `seeds`."""
    found: set[str] = set()
    while True:
        new = set(found)
        for node in own_nodes(scope):
            value, names = _stored(node)
            if value is not None and reads_any(value, seeds, found):
                new |= names
        if new == found:
            return found
        found = new


def _stored(node: ast.AST) -> tuple[ast.expr | None, set[str]]:
    """What an assignment or an `append` stores, and in which variables."""
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return node.value, {target.id for target in targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        listed = path_of(node.func.value)
        if node.func.attr == "append" and listed is not None:
            return node.args[0], {listed}
    return None, set()


def reads_any(node: ast.AST, seeds: set[ast.Call], names: set[str]) -> bool:
    """Whether one of `seeds` or `names` is in `node`."""
    return any(
        inner in seeds
        or (isinstance(inner, ast.Name) and inner.id in names and isinstance(inner.ctx, ast.Load))
        for inner in nodes_in(node)
    )
