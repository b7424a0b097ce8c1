"""Counts of parameters: where they come from, and whether summing them over the ranks is right."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.lowering.sharding_function import HYBRID
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import called, owners
from fsdp_migrate.syntax.module import Module

DEPTH = 4  # variables that are followed
# What makes another number, or a tensor, of a count.
KEEPING = frozenset(
    {"builtins.float", "builtins.int", "builtins.sum", "torch.as_tensor", "torch.tensor"}
)


def is_split_evenly(facts: Facts, node: ast.AST) -> bool:
    """Whether the ranks of the whole program share the parameters that `node` stands for."""
    for wrapped in owners(facts, node):
        plan = facts.plan(wrapped)
        if plan is None or not plan.members or plan.members & {*HYBRID, "NO_SHARD"}:
            return False
        if plan.has_ignored or "process_group" in plan.fact.arguments:
            return False
    return True


def only_counts(
    facts: Facts, module: Module, node: ast.expr, counts: set[ast.AST], depth: int = 0
) -> bool:
    """Whether `node` is one of the `counts` (methods that are called) or a sum of them, made a
    tensor or not."""
    if isinstance(node, ast.Name) and depth < DEPTH:
        found = definition(module, node)
        return found is not None and only_counts(facts, module, found.value, counts, depth + 1)
    if isinstance(node, ast.Call):
        if node.func in counts:
            return True
        keeps = bool(called(facts, node) & KEEPING) and bool(node.args)
        return keeps and only_counts(facts, module, node.args[0], counts, depth)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return only_counts(facts, module, node.elt, counts, depth)
    if isinstance(node, ast.List):
        return all(only_counts(facts, module, item, counts, depth) for item in node.elts)
    return False
