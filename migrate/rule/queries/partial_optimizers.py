"""Optimizers that may have some of a model's parameters only: what isn't shown to have all."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.library.modules import PARAMETERS
from fsdp_migrate.analysis.values import Params, Wrapped
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.mixed_lists import parameters_given
from fsdp_migrate.rule.queries.parameter_lists import receivers
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.GeneratorExp


def keeps_cleared_gradients(facts: Facts, use: Use) -> bool:
    """Whether FSDP1 may have gone on adding to gradients that were cleared.

    It does so with NO_SHARD and `no_sync` where `zero_grad` clears some of a unit's gradients and
    not all: FlatParamHandle._reset_flat_param_grad_info_if_needed waits for the last of them.
    """
    plans = [facts.plan(wrapped) for wrapped in use.wraps]
    if not any(plan is not None and "NO_SHARD" in plan.members for plan in plans):
        return False
    return any(
        holder.is_optimizer and not _has_all(facts, holder.module, holder.call)
        for holder in facts.holders.all
    )


def _has_all(facts: Facts, module: Module, call: ast.Call) -> bool:
    """Whether an optimizer is made of whole models, without a test on names that chooses."""
    given = parameters_given(call)
    if given is None:
        return True
    asked = list(receivers(module, given))
    if not asked:
        return _is_of_whole_models(facts, given)
    if not any(_is_whole(facts, each) for each in asked):
        return False
    chosen = [node for node in nodes_in(given) if isinstance(node, COMPREHENSIONS)]
    return len(chosen) != 1 or len(asked) != 1 or not any(map(_chooses, chosen))


def _is_of_whole_models(facts: Facts, given: ast.expr) -> bool:
    """Whether a list, wherever it was made, is of parameters that whole models were asked for."""
    births = {
        a.born for a in facts.sharded.held(given) if isinstance(a, Params) and a.kind != "name"
    }
    calls = [facts.analysis.call_nodes.get(born) if born is not None else None for born in births]
    return bool(calls) and all(
        call is not None
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in PARAMETERS
        and _is_whole(facts, call.func.value)
        for call in calls
    )


def _is_whole(facts: Facts, node: ast.expr) -> bool:
    value = facts.value(node)
    inner = (fact.inner for fact in facts.analysis.wraps.values())
    return any(isinstance(atom, Wrapped) for atom in value) or any(value & each for each in inner)


def _chooses(node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> bool:
    """Whether a comprehension over parameters leaves out some, and not only those without grad."""
    tests = [test for generator in node.generators for test in generator.ifs]
    goes_through = any(
        isinstance(inner, ast.Attribute) and inner.attr in PARAMETERS
        for generator in node.generators
        for inner in nodes_in(generator.iter)
    )
    return goes_through and any(
        not (isinstance(test, ast.Attribute) and test.attr == "requires_grad") for test in tests
    )
