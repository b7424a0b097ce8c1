"""What the groups of an optimizer hold besides the parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Method, Result, Symbol, Unknown, Value
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

SCHEDULERS = "torch.optim.lr_scheduler."
# Libraries that put nothing into the groups of an optimizer that they are given.
HARMLESS = ("torch.", "builtins.", "contextlib.", "copy.", "functools.", "itertools.")
# The entries that PyTorch's optimizers make themselves.
ENTRIES = frozenset(
    {
        "alpha", "amsgrad", "betas", "capturable", "centered", "dampening", "differentiable",
        "decoupled_weight_decay", "eps", "etas", "foreach", "fused", "initial_accumulator_value",
        "lambd", "lr", "lr_decay", "maximize", "momentum", "momentum_decay", "nesterov", "params",
        "rho", "step_sizes", "t0", "weight_decay",
    }
)  # fmt: skip


def may_have_more_entries(facts: Facts, optimizer: ast.expr) -> bool:
    """Whether the groups may hold entries that a new optimizer lacks.

    A scheduler of learning rates writes `initial_lr`; what else does is a library that is given
    the optimizer, or the program itself.
    """
    modules = facts.analysis.project.modules.values()
    return (
        any(_names_scheduler(facts, module) for module in modules)
        or any(_writes_entry(module) for module in modules)
        or _is_given_away(facts, facts.value(optimizer))
    )


def _names_scheduler(facts: Facts, module: Module) -> bool:
    return any(
        isinstance(atom, Symbol) and atom.name.startswith(SCHEDULERS)
        for node in nodes_in(module.tree)
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
        for atom in facts.value(node)
    )


def _is_given_away(facts: Facts, optimizer: Value) -> bool:
    """Whether a library, or a function that isn't known, gets the optimizer."""
    return any(
        any(facts.value(argument) & optimizer for argument in _arguments(call))
        for call in facts.analysis.call_nodes.values()
        if any(_is_foreign(atom) for atom in facts.value(call.func))
    )


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args
    yield from (keyword.value for keyword in call.keywords)


def _is_foreign(callee: object) -> bool:
    if isinstance(callee, Method):
        callee = callee.receiver
    if isinstance(callee, Result):
        return not callee.symbol.startswith(HARMLESS)
    if isinstance(callee, Symbol):
        return not callee.name.startswith(HARMLESS)
    return isinstance(callee, Unknown)


def _writes_entry(module: Module) -> bool:
    """Whether the file stores an entry in a group that the optimizer has not made."""
    return any(
        (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Store)
            and _is_group(module, node.value)
            and not (isinstance(node.slice, ast.Constant) and node.slice.value in ENTRIES)
        )
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"setdefault", "update"}
            and _is_group(module, node.func.value)
        )
        for node in nodes_in(module.tree)
    )


def _is_group(module: Module, node: ast.expr) -> bool:
    """Whether `node` is an item of `optimizer.param_groups`, or the variable of a loop over it."""
    if isinstance(node, ast.Subscript):
        return _has_groups(node.value)
    if not isinstance(node, ast.Name):
        return False
    return any(
        isinstance(loop, ast.For | ast.comprehension)
        and _has_groups(loop.iter)
        and any(isinstance(n, ast.Name) and n.id == node.id for n in nodes_in(loop.target))
        for loop in nodes_in(module.scope(node))
    )


def _has_groups(node: ast.expr) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr == "param_groups" for n in nodes_in(node))
