"""Parameters and gradients of FSDP models, and what is computed from them in a function."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Method, Params, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import called
from fsdp_migrate.syntax.paths import own_nodes, path_of

TENSORS = frozenset({"data", "grad", "main_grad"})
PLAIN = frozenset({"torch.tensor", "torch.zeros", "torch.zeros_like"})


def method_or_function(call: ast.Call) -> str:
    """The method that `call` asks for, or the function by the name that stands there."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else path_of(call.func) or ""


def sharded_models(facts: Facts, node: ast.expr) -> frozenset[Wrapped]:
    """The models of which `node` is a parameter, a gradient or the like."""
    if not isinstance(node, ast.Name | ast.Attribute):
        return frozenset()
    found = {
        atom.receiver.owner
        for atom in facts.value(node)
        if isinstance(atom, Method) and atom.name in TENSORS and isinstance(atom.receiver, Params)
    }
    direct = {atom.owner for atom in facts.value(node) if isinstance(atom, Params)}
    return frozenset(owner for owner in found | direct if isinstance(owner, Wrapped))


def parameter_of(node: ast.expr) -> ast.expr:
    """The parameter whose gradient (or the like) `node` is, or `node` itself."""
    if isinstance(node, ast.Attribute) and node.attr in TENSORS:
        return node.value
    return node


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


def computed_from(scope: ast.AST, seeds: set[ast.Call], stop: frozenset[str]) -> set[str]:
    """The variables of `scope` that hold what is computed from `seeds`.

    What comes out of a call of one of the `stop` methods does not count.
    """
    found: set[str] = set()
    while True:
        new = set(found)
        for node in own_nodes(scope):
            value, names = _stored(node)
            if value is not None and reads_any(value, seeds, found, stop):
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


def reads_any(node: ast.AST, seeds: set[ast.Call], names: set[str], stop: frozenset[str]) -> bool:
    """Whether one of `seeds` or `names` is in `node`, not counting what is inside `stop` calls."""
    if isinstance(node, ast.Call):
        if method_or_function(node) in stop:
            return False
        if node in seeds:
            return True
    if isinstance(node, ast.Name) and node.id in names:
        return isinstance(node.ctx, ast.Load)
    return any(reads_any(child, seeds, names, stop) for child in ast.iter_child_nodes(node))


def goes_into_plain(
    facts: Facts, scope: ast.AST, seeds: set[ast.Call], names: set[str], stop: frozenset[str]
) -> bool:
    """Whether what is read of `seeds` and `names` is added into a tensor made as a plain one."""
    plain = {
        target.id
        for node in own_nodes(scope)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if called(facts, node.value) & PLAIN
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return any(
        isinstance(node, ast.AugAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id in plain
        and reads_any(node.value, seeds, names - plain, stop)
        for node in own_nodes(scope)
    )
