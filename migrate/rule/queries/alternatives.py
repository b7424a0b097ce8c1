"""Code that runs where the model is not FSDP1's, by what stands in the other branch.

`if sharded: model.clip_grad_norm_(1.0)` calls what FSDP1's models alone have: its `else` is for all
others, whatever the test is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from fsdp_migrate.analysis.library.fsdp1 import OWN_METHODS
from fsdp_migrate.analysis.values import Result, Symbol
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import FUNCTIONS


def is_for_others(facts: Facts, module: Module, node: ast.AST, model: ast.expr) -> bool:
    """Whether `node` stands in the branch of a condition whose other one is for FSDP1's models."""
    child = node
    for parent in module.ancestors(node):
        if isinstance(parent, FUNCTIONS):
            return False
        if isinstance(parent, ast.If | ast.IfExp) and child is not parent.test:
            body, orelse = _branches(parent)
            other = orelse if child in body else body
            if any(_is_own(facts, n, model) for each in other for n in nodes_in(each)):
                return True
        child = parent
    return False


def _branches(node: ast.If | ast.IfExp) -> tuple[Sequence[ast.AST], Sequence[ast.AST]]:
    if isinstance(node, ast.If):
        return node.body, node.orelse
    return [node.body], [node.orelse]


def _is_own(facts: Facts, node: ast.AST, model: ast.expr) -> bool:
    """Whether `node` asks the model for what only FSDP1's have, or gives it to FSDP1's own."""
    if isinstance(node, ast.Attribute):
        return (
            node.attr in OWN_METHODS
            and same(node.value, model)
            and bool(models(facts.value(node.value)))
        )
    if not isinstance(node, ast.Call):
        return False
    names = {atom.name for atom in facts.value(node.func) if isinstance(atom, Symbol)}
    given: Iterable[ast.expr] = [*node.args, *(keyword.value for keyword in node.keywords)]
    return any(name.startswith(f"{FSDP1}.") for name in names) and any(
        same(argument, model) for argument in given
    )


def has_sharded_scaler(facts: Facts, scaler: ast.expr) -> bool:
    """Whether a grad scaler is FSDP1's own where the model is, and another one elsewhere."""
    return any(
        isinstance(atom, Result) and atom.symbol.endswith(".ShardedGradScaler")
        for atom in facts.value(scaler)
    )
