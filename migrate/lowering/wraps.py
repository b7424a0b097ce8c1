"""What becomes of every FSDP1 constructor call of a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import NOTHING, Result
from fsdp_migrate.findings.options import Style
from fsdp_migrate.lowering.nesting import Nesting
from fsdp_migrate.lowering.program_facts import ProgramFacts
from fsdp_migrate.lowering.wrap_call import plan_call
from fsdp_migrate.lowering.wrap_plan import Reason, WrapPlan
from fsdp_migrate.syntax.span import Site

SHARED = Reason("mixed_precision", "its MixedPrecision also reaches a wrap that only the run knows")


def plan_wraps(analysis: Analysis, style: Style = "native") -> Mapping[Site, WrapPlan]:
    """A plan for every wrap site."""
    nesting = Nesting(analysis)
    programs: dict[frozenset[str], ProgramFacts] = {}
    plans: dict[Site, WrapPlan] = {}
    for site, fact in analysis.wraps.items():
        names = analysis.project.program_of(fact.module.name)
        if names not in programs:
            programs[names] = ProgramFacts.of(analysis, fact.module)
        plans[site] = plan_call(analysis, programs[names], nesting, fact, style)
    return _agreeing(plans)


def _agreeing(plans: Mapping[Site, WrapPlan]) -> Mapping[Site, WrapPlan]:
    """`plans` of which none rewrites a MixedPrecision object that one of the shim's also reads."""
    taken = {site for plan in plans.values() if not plan.native for site in _precisions(plan)}
    torn = {
        place: replace(plan, reasons=(SHARED,))
        for place, plan in plans.items()
        if plan.native and plan.parts.precision and plan.parts.precision.sites & taken
    }
    return _agreeing({**plans, **torn}) if torn else plans


def _precisions(plan: WrapPlan) -> set[Site]:
    """Where the objects are made that a call may be given."""
    argument = plan.fact.arguments.get("mixed_precision")
    value = argument.value if argument is not None else NOTHING
    return {atom.site for atom in value if isinstance(atom, Result)}
