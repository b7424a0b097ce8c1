"""What becomes of every FSDP1 constructor call of a program."""

from __future__ import annotations

from collections.abc import Mapping

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import NOTHING, Result
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.findings.options import Style
from fsdp_migrate.lowering.nesting import Nesting
from fsdp_migrate.lowering.program_facts import ProgramFacts
from fsdp_migrate.lowering.wrap_call import plan_call
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.syntax.span import Site

PRECISION = "mixed_precision"
SHARED = "its MixedPrecision also reaches a wrap that only the run knows"


def plan_wraps(analysis: Analysis, style: Style = "native") -> Mapping[Site, WrapPlan]:
    """A plan for every wrap site."""
    nesting = Nesting(analysis)
    programs: dict[frozenset[str], ProgramFacts] = {}

    def made(fact: WrapFact, refused: Mapping[str, str]) -> WrapPlan:
        names = analysis.project.program_of(fact.module.name)
        if names not in programs:
            programs[names] = ProgramFacts.of(analysis, fact.module)
        return plan_call(analysis, programs[names], nesting, fact, style, refused)

    plans = {site: made(fact, {}) for site, fact in analysis.wraps.items()}
    while torn := _torn(plans):
        plans |= {site: made(analysis.wraps[site], {PRECISION: SHARED}) for site in torn}
    return plans


def _torn(plans: Mapping[Site, WrapPlan]) -> list[Site]:
    """The wraps that rewrite a MixedPrecision object which another one takes as it is."""
    taken = {s for plan in plans.values() if plan.leaves(PRECISION) for s in _precisions(plan)}
    return [
        place
        for place, plan in plans.items()
        if not plan.leaves(PRECISION)
        and plan.parts.precision
        and plan.parts.precision.sites & taken
    ]


def _precisions(plan: WrapPlan) -> set[Site]:
    """Where the objects are made that a call may be given."""
    argument = plan.fact.arguments.get(PRECISION)
    value = argument.value if argument is not None else NOTHING
    return {atom.site for atom in value if isinstance(atom, Result)}
