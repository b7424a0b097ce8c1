"""What is looked at for its gradients alone: where there are none, it is nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Symbol
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module

CLIP = "clip_grad_norm_"
CLIPPING = frozenset(
    {Symbol(f"torch.nn.utils.{n}") for n in (CLIP, "clip_grad_value_", "get_total_norm")}
    | {Symbol(f"torch.nn.utils.clip_grad.{n}") for n in (CLIP, "clip_grad_value_")}
)


def gradient_reads(facts: Facts) -> frozenset[ast.AST]:
    """The calls `model.clip_grad_norm_(1.0)`, and the parameters that such functions are given."""
    modules = facts.analysis.project.modules.values()
    return frozenset(node for module in modules for node in _in(facts, module))


def _in(facts: Facts, module: Module) -> Iterator[ast.AST]:
    for node in module.parents:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        called = facts.value(node.func)
        if called and called <= CLIPPING:
            yield from node.args[:1]
        elif isinstance(node.func, ast.Attribute) and node.func.attr == CLIP:
            yield node
