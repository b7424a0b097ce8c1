"""What neither plain FSDP2 nor the shim makes of `summon_full_params`, in words."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.summoned_births import kept_of, models_read, strangers_in, views_of


def without_form(use: Use, facts: Facts) -> str:
    """Why what happens to parameters inside has no form at all, the shim's neither; "" if it has.

    This is asked where the body isn't understood.
    """
    body = _statement(use)
    strangers = strangers_in(facts, use.module, body)
    if strangers:
        return (
            f"line {_first(strangers)} reads parameters that were asked for outside, and FSDP2 "
            "leaves those shards: ask the model for them inside, or use `p.full_tensor()` on all "
            "ranks"
        )
    kept = kept_of(facts, use.module, body)
    if kept:
        return (
            f"line {_first([*kept.values()])} uses parameters that were asked for inside, and "
            "would get whole copies that nothing trains: ask the model for them outside"
        )
    return ""


def stale_views(use: Use, facts: Facts) -> str:
    """What is said of views that outlive the context where nothing is sharded; "" for none.

    Elsewhere FSDP1 freed their memory.
    """
    plans = [facts.plan(wrapped) for wrapped in summoned(use, facts)]
    if not any(plan is not None and "NO_SHARD" in plan.members for plan in plans):
        return ""
    views = views_of(facts, use.module, _statement(use))
    if not views:
        return ""
    return (
        f"; line {_first(views)} uses a view that was made inside: with NO_SHARD it was the "
        "parameter's own memory, and is a copy now, which training doesn't change"
    )


def summoned(use: Use, facts: Facts) -> frozenset[Wrapped]:
    """The models whose parameters are made whole."""
    given = [*use.args[:1], *(k.value for k in use.keywords if k.arg == "module")]
    return use.wraps.union(*(facts.analysis.wrapped(facts.value(node)) for node in given))


def held_back(use: Use, facts: Facts) -> frozenset[Wrapped]:
    """The models that stay where a context has no form: those whose parameters it is about."""
    strangers = strangers_in(facts, use.module, _statement(use))
    return summoned(use, facts).union(*(models_read(facts, use.module, n) for n in strangers))


def _statement(use: Use) -> ast.With | None:
    item = use.module.parents.get(use.call) if use.call is not None else None
    around = use.module.parents[item] if isinstance(item, ast.withitem) else None
    return around if isinstance(around, ast.With) else None


def _first(nodes: list[ast.expr]) -> int:
    return min(node.lineno for node in nodes)
