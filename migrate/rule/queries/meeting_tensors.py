"""Models whose parameters meet in one operation: `ema.lerp_(p, 0.1)` takes two of one kind."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Method, Params, Symbol, Tensor, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import modules
from fsdp_migrate.syntax.nodes import nodes_in

# Modules of PyTorch whose functions compute with the tensors that they are given.
COMPUTING = frozenset({"torch", "torch.linalg", "torch.nn.functional"})
KEEPING = frozenset({"torch.save"})


def meeting_tensors(facts: Facts) -> Iterator[frozenset[Wrapped]]:
    """The models of each operation that takes parameters, or what is computed of them."""
    for module in modules(facts):
        for node in nodes_in(module.tree):
            operands = _operands(facts, node)
            if len(operands) > 1:
                yield frozenset(
                    model
                    for operand in operands
                    for model in facts.sharded.models(module, operand, lists=True)
                )


def _operands(facts: Facts, node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.AugAssign):
        return [node.target, node.value]
    if not isinstance(node, ast.Call) or not (node.args or node.keywords):
        return []
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    func = node.func
    if any(_computes(atom) for atom in facts.value(func)):
        return [func.value, *given] if isinstance(func, ast.Attribute) else given
    return []


def _computes(atom: object) -> bool:
    """Whether a call of it computes with tensors: a function of PyTorch's, a tensor's method."""
    if isinstance(atom, Symbol):
        return atom.name.rpartition(".")[0] in COMPUTING and atom.name not in KEEPING
    return isinstance(atom, Method) and isinstance(atom.receiver, Params | Tensor)
