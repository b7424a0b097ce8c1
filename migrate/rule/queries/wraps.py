"""Questions about the calls of FSDP1's constructor, and what they become."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Partial
from fsdp_migrate.findings.code import Kept, call
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.lowering.arguments.keyword_dicts import UNSEEN
from fsdp_migrate.lowering.arguments.precision_fields import as_policy
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.lowering.wrap_statements import FULLY_SHARD, native_edits
from fsdp_migrate.lowering.wraps import left_contexts
from fsdp_migrate.rule.dead_code import removals
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.shim_types import staying, take_from_shim
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

__all__ = [
    "WrapPlan",
    "as_policy",
    "contexts_left",
    "left_of_partial",
    "models_in",
    "native_form",
    "of_partial",
    "plan_of",
    "plans_with_attributes",
    "takes_hook",
    "types_inside",
    "why_not_partial",
    "without_arguments",
]


def plan_of(use: Use, facts: Facts) -> WrapPlan | None:
    """What becomes of the constructor call that `use` is the callee of."""
    return facts.wraps.get(use.module.site(use.call)) if use.call is not None else None


def native_form(facts: Facts, plan: WrapPlan) -> list[Edit]:
    """The edits that write a call in plain PyTorch, and drop what only the call has read."""
    return [*native_edits(plan), *removals(facts, plan.fact.module, plan.parts.absorbed)]


def of_partial(use: Use, facts: Facts) -> tuple[WrapPlan, ...]:
    """What becomes of the partial of the class around it, or of its calls; nothing if it stays."""
    parent = use.module.parents[use.node]
    plans = facts.partials.get(use.module.site(parent)) if isinstance(parent, ast.Call) else None
    return plans if plans is not None and all(plan.native for plan in plans) else ()


def why_not_partial(use: Use, facts: Facts) -> str:
    """Why a partial of the class stays one of FSDP1's kind; nothing if there is no partial."""
    parent = use.module.parents[use.node]
    if not isinstance(parent, ast.Call) or use.node is parent.func:
        return ""
    site = use.module.site(parent)
    if not any(isinstance(a, Partial) and a.site == site for a in facts.value(parent)):
        return ""
    plans = facts.partials.get(site, ())
    why = next((plan.reason for plan in plans if not plan.native), "")
    return why or _what_it_is_called_with(facts, site)


def _what_it_is_called_with(facts: Facts, partial: Site) -> str:
    """What is in the way of a partial, by its calls."""
    calls = [plan.fact for plan in facts.wraps.values() if partial in plan.fact.partials]
    for fact in calls:
        where = f"{fact.module.path.name}:{fact.node.lineno}"
        for keyword in fact.node.keywords:
            if keyword.arg is None:
                return f"its call takes arguments through `**` ({where})"
            if keyword.arg not in UNSEEN and keyword.arg != "module":
                return f"its call gives `{keyword.arg}`, too ({where})"
    return "not all that is done with it is known" if calls else "no call of it is known"


def left_of_partial(use: Use, plans: tuple[WrapPlan, ...]) -> Iterator[Edit]:
    """The edit that leaves a partial nothing to give, where it stays and its calls say it all."""
    module, partial = use.module, use.module.parents[use.node]
    gone = {definition for plan in plans for definition in plan.parts.absorbed}
    if any(plan.calls for plan in plans) or module.statement(partial) in gone:
        return
    assert isinstance(partial, ast.Call)
    bound = isinstance(module.scope(partial), ast.ClassDef)  # which instances would bind
    left = call(Kept(module.span(partial.func)), FULLY_SHARD) if bound else FULLY_SHARD
    yield ReplaceExpression(module.span(partial), left)


def without_arguments(plan: WrapPlan) -> Iterator[tuple[Module, Edit]]:
    """The edits that leave the calls of a partial nothing but the model to give."""
    for fact in plan.calls:
        module, model = fact.module, fact.arguments["module"].node
        if fact.node.keywords and model is not None:
            new = call(Kept(module.span(fact.node.func)), Kept(module.span(model)))
            yield module, ReplaceExpression(module.span(fact.node), new)


def types_inside(facts: Facts, plan: WrapPlan) -> Iterator[Edit]:
    """The edits by which the arguments of a call of the shim take their types from the shim."""
    inside = set(nodes_in(plan.fact.node))
    yield from take_from_shim(u for u in staying(facts, plan.fact.module) if u.node in inside)


def contexts_left(facts: Facts) -> frozenset[ast.Call]:
    """The `enable_wrap` contexts that have nothing to do any more."""
    return left_contexts(facts.analysis, facts.wraps)


def models_in(facts: Facts, context: ast.Call) -> frozenset[str]:
    """The models that are made by `wrap` in a context."""
    inside = (plan for plan in facts.wraps.values() if context in plan.fact.contexts)
    return facts.models(model for plan in inside for model in plan.models)


def takes_hook(facts: Facts, call: ast.Call) -> bool:
    """Whether a native wrap reduces gradients as the hook does that `call` registers."""
    return any(p.native and p.parts.comm_hook is call for p in facts.wraps.values())


def plans_with_attributes(facts: Facts) -> Iterator[tuple[WrapPlan, list[str]]]:
    """The wraps that copy what the program sets on parameters, and the names of that."""
    for plan in facts.wraps.values():
        names = plan.parts.attributes
        if names and plan.fact.module.rewrite:
            yield plan, sorted(names - {"*"})
