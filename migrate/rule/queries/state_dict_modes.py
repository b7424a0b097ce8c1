"""Which state-dict mode a call runs in, and whether the call says itself what the mode said."""

from __future__ import annotations

import ast

from fsdp_migrate.lowering.state_dict_modes import ModePlan, OpenModes
from fsdp_migrate.lowering.state_dict_settings import Setting
from fsdp_migrate.rule.facts import Facts, Use

__all__ = ["ModePlan", "Setting", "mode_goes", "mode_set_by", "setting_at"]


def setting_at(facts: Facts, call: ast.Call) -> Setting | None:
    """What the mode says that `call` runs in; None if only the run knows."""
    return facts.modes.setting(_open_modes(facts, call))


def mode_goes(facts: Facts, call: ast.Call) -> bool:
    """Whether no mode is left around `call`: it has to say itself what the mode said."""
    return facts.modes.is_native(_open_modes(facts, call))


def mode_set_by(use: Use, facts: Facts) -> ModePlan | None:
    """What becomes of the mode that a call sets, if it sets one."""
    return facts.modes.plans.get(use.module.site(use.call)) if use.call is not None else None


def _open_modes(facts: Facts, call: ast.Call) -> OpenModes:
    return facts.modes.around(facts.analysis, call)
