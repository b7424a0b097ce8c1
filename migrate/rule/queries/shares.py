"""State dicts in which FSDP1 gave what this rank has of a parameter, and not the whole of it.

Only the methods of FSDP1's wrappers gather.  A module inside of one that is no unit of its own has
what its rank holds of the unit around it: `model.module.state_dict()`, `model.head.state_dict()`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fsdp_migrate.analysis.values import Atom, Container, Instance, Result, Wrapped
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.bare_modules import may_be_bare
from fsdp_migrate.rule.queries.parameters import use_orig_params
from fsdp_migrate.syntax.span import Site

HOLDERS = frozenset({"ModuleDict", "ModuleList", "Sequential"})  # with no parameters of their own
DEPTH = 4


def gave_share(use: Use, facts: Facts) -> bool:
    """Whether a state dict may have held (or taken) shares, where it holds whole tensors now."""
    if use.receiver is None:
        return False
    if not use.is_part and not may_be_bare(facts, use.module, use.receiver):
        return False
    plans = [plan for plan in map(facts.plan, use.wraps) if plan is not None]
    if plans and all(plan.members == {"NO_SHARD"} for plan in plans):
        # Nothing was cut, and it had its own names unless it was in flat parameters.
        return {use_orig_params(facts, wrapped) for wrapped in use.wraps} != {True}
    value = facts.value(use.receiver)
    are_units = bool(value) and all(_is_unit(atom, facts, plans) for atom in value)
    return not (use.is_part and are_units)


def _is_unit(atom: Atom, facts: Facts, plans: Sequence[WrapPlan], depth: int = DEPTH) -> bool:
    """Whether a part is sharded as a unit of its own, or holds such units and nothing else."""
    if isinstance(atom, Wrapped):
        return True
    if isinstance(atom, Instance):
        lineage = set(facts.analysis.lineage(atom.cls))
        return bool(plans) and all(_makes_units_of(plan, lineage) for plan in plans)
    if not depth or not _holds_modules(atom):
        return False
    held = facts.analysis.parts(atom)
    return bool(held) and all(_is_unit(part, facts, plans, depth - 1) for part in held)


def _makes_units_of(plan: WrapPlan, lineage: set[Site]) -> bool:
    units = plan.parts.units
    if units is None or units.condition is None or not units.condition.is_class_test:
        return False
    return bool(lineage & units.condition.classes)


def _holds_modules(atom: Atom) -> bool:
    if isinstance(atom, Result):
        return atom.symbol.rpartition(".")[2] in HOLDERS
    return isinstance(atom, Container)
