"""Which state-dict mode a call runs in, and whether the call says itself what the mode said."""

from __future__ import annotations

import ast

from fsdp_migrate.lowering.carried_options import Carried
from fsdp_migrate.lowering.context_choices import Ways
from fsdp_migrate.lowering.state_dict_modes import ModePlan, OpenModes
from fsdp_migrate.lowering.state_dict_settings import Setting
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.syntax.paths import binds, reads, touches
from fsdp_migrate.syntax.span import Site

__all__ = [
    "Carried",
    "ModePlan",
    "Setting",
    "Ways",
    "carried_at",
    "mode_goes",
    "mode_set_by",
    "setting_at",
    "ways_at",
]


def setting_at(facts: Facts, call: ast.Call) -> Setting | None:
    """What the mode says that `call` runs in; None if only the run knows."""
    return facts.modes.setting(_open_modes(facts, call))


def carried_at(facts: Facts, call: ast.Call) -> Carried | None:
    """What says the options of `call`, which stands in the one context that only the run knows."""
    open_modes = _open_modes(facts, call)
    place = next(iter(open_modes)) if len(open_modes) == 1 else None
    plan = facts.modes.plans.get(place) if isinstance(place, Site) else None
    if plan is None or plan.carried is None:
        return None
    return plan.carried if _is_known_at(plan, call, reads(plan.carried.node)) else None


def ways_at(facts: Facts, call: ast.Call) -> Ways | None:
    """The ways that a condition chooses from, in the one context that `call` stands in."""
    open_modes = _open_modes(facts, call)
    place = next(iter(open_modes)) if len(open_modes) == 1 else None
    plan = facts.modes.plans.get(place) if isinstance(place, Site) else None
    if plan is None or plan.ways is None:
        return None
    return plan.ways if _is_known_at(plan, call, plan.ways.paths) else None


def _is_known_at(plan: ModePlan, call: ast.Call, paths: frozenset[str]) -> bool:
    """Whether what `paths` were where a context is entered, they are where `call` runs in it."""
    if not isinstance(plan.statement, ast.With):
        return False
    node: ast.AST = call
    for around in plan.module.ancestors(call):
        if around is plan.statement:
            bound = frozenset().union(*map(binds, plan.statement.body))
            return node in plan.statement.body and not touches(bound, paths)
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return False
        node = around
    return False


def mode_goes(facts: Facts, call: ast.Call) -> bool:
    """Whether no mode is left around `call`: it has to say itself what the mode said."""
    return facts.modes.is_native(_open_modes(facts, call))


def mode_set_by(use: Use, facts: Facts) -> ModePlan | None:
    """What becomes of the mode that a call sets, if it sets one."""
    return facts.modes.plans.get(use.module.site(use.call)) if use.call is not None else None


def _open_modes(facts: Facts, call: ast.Call) -> OpenModes:
    return facts.modes.around(facts.analysis, call)
