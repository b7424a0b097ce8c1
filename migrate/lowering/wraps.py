"""What becomes of every FSDP1 constructor call of a program."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.options import Style
from fsdp_migrate.lowering.arguments.keyword_dicts import is_from_outside, written_arguments
from fsdp_migrate.lowering.born_policies import decide_offload, decide_precision
from fsdp_migrate.lowering.born_prefetch import decide as prefetch
from fsdp_migrate.lowering.born_strategies import decide as strategies
from fsdp_migrate.lowering.born_values import (
    ANYTHING,
    NOTHING_BORN,
    BornValues,
    Stopped,
    born_values,
)
from fsdp_migrate.lowering.born_wrap_policies import decide_policies
from fsdp_migrate.lowering.nesting import Nesting
from fsdp_migrate.lowering.partial_wraps import alias_of, by_partials, partial_wraps
from fsdp_migrate.lowering.program_facts import ProgramFacts
from fsdp_migrate.lowering.wrap_call import plan_call
from fsdp_migrate.lowering.wrap_functions import named_apart
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.lowering.wrap_site import NotNative
from fsdp_migrate.syntax.span import Site

# What is migrated where it is born.
FAMILIES = (strategies, prefetch, decide_offload, decide_precision, decide_policies)


@dataclass(frozen=True, eq=False)
class Wraps:
    """A plan for every wrap site, and what the values become that they are given."""

    plans: Mapping[Site, WrapPlan]
    born: BornValues
    partials: Mapping[Site, tuple[WrapPlan, ...]]  # of the class: their own plan, or their calls'


def plan_wraps(analysis: Analysis, style: Style = "native") -> Wraps:
    """A plan for every wrap site.

    A value is migrated where it is born only if each call that is given it becomes plain calls:
    where one doesn't, the value is decided on again.
    """
    plan = _Planner(analysis, style)
    if style == "shim" or not analysis.wraps:
        return plan.wraps(plan(NOTHING_BORN), NOTHING_BORN)
    stopped: Stopped = frozenset()
    while True:
        born = born_values(analysis, FAMILIES, plan.arguments_of, plan.facts, stopped)
        plans = plan(born)
        torn = _stopped(analysis, plans, born)
        if torn <= stopped:
            return plan.wraps(plans, born)
        stopped |= torn


class _Planner:
    """Plans the calls of a program for what values have become."""

    def __init__(self, analysis: Analysis, style: Style) -> None:
        self._analysis = analysis
        self._style: Style = style
        self._nesting = Nesting(analysis)
        self._programs: dict[frozenset[str], ProgramFacts] = {}
        self._arguments: dict[Site, Mapping[str, Argument]] = {}
        self._partials = partial_wraps(analysis) if style == "native" else {}
        through = {fact.site for made in self._partials.values() for fact in made.calls}
        facts = [fact for site, fact in analysis.wraps.items() if site not in through]
        facts += [fact for made in self._partials.values() for fact in made.facts]
        self.facts = tuple(facts)
        self._definitions = {
            fact.site: made.definition for made in self._partials.values() for fact in made.inlined
        }
        aliases = ((fact, alias_of(analysis, fact)) for fact in facts)
        self._definitions |= {fact.site: found for fact, found in aliases if found is not None}

    def __call__(self, born: BornValues) -> Mapping[Site, WrapPlan]:
        """A plan for each, for partials of the class too."""
        return {fact.site: self._made(fact, born) for fact in self.facts}

    def wraps(self, plans: Mapping[Site, WrapPlan], born: BornValues) -> Wraps:
        """The plans by what makes models, and by partial."""
        made = named_apart(plans)
        partials = {
            site: tuple(made[fact.site] for fact in partial.facts)
            for site, partial in self._partials.items()
        }
        found = {site: plan for site, plan in made.items() if not plan.calls}
        for partial in self._partials.values():
            for fact in partial.calls if partial.fact is not None else ():
                through = [made[site] for site in sorted(fact.partials)]
                found[fact.site] = by_partials(self._analysis, through, fact)
        return Wraps(found, born, partials)

    def arguments_of(self, fact: WrapFact) -> Mapping[str, Argument]:
        """The arguments of a call, those of a dict that is written out with the places there."""
        known = self._arguments.get(fact.site)
        if known is None:
            known = self._arguments[fact.site] = self._written(fact)
        return known

    def _written(self, fact: WrapFact) -> Mapping[str, Argument]:
        try:
            return written_arguments(self._analysis, fact).arguments
        except NotNative:
            return fact.arguments

    def _made(self, fact: WrapFact, born: BornValues) -> WrapPlan:
        names = self._analysis.project.program_of(fact.module.name)
        if names not in self._programs:
            self._programs[names] = ProgramFacts.of(self._analysis, fact.module)
        program, style = self._programs[names], self._style
        made = self._partials.get(fact.site)
        calls = made.calls if made is not None else ()
        plan = plan_call(self._analysis, program, self._nesting, fact, style, born, calls)
        found = self._definitions.get(fact.site)
        if found is None or not plan.native:
            return plan
        return replace(plan, parts=replace(plan.parts, absorbed=(*plan.parts.absorbed, found)))


def _stopped(analysis: Analysis, plans: Mapping[Site, WrapPlan], born: BornValues) -> Stopped:
    """The arguments that stay FSDP1's values, of those that are given values that become others."""
    unseen = frozenset(
        (plan.fact.site, ANYTHING)
        for plan in plans.values()
        if plan.fact.opaque and not plan.native and born.migrated
        if not is_from_outside(analysis, plan.fact)
    )
    return unseen | frozenset(
        (plan.fact.site, name)
        for plan in plans.values()
        for name, argument in plan.fact.arguments.items()
        if plan.leaves(name) and any(not m.atoms.isdisjoint(argument.value) for m in born.migrated)
    )


def left_contexts(analysis: Analysis, plans: Mapping[Site, WrapPlan]) -> frozenset[ast.Call]:
    """The `enable_wrap` contexts whose calls of `wrap` all become plain calls.

    Where one call of `wrap` of the program doesn't, it may run in any of the contexts.
    """
    inside = [plan for plan in plans.values() if plan.fact.contexts]
    if not all(plan.native for plan in inside):
        return frozenset()
    return frozenset(c for plan in inside for c in plan.fact.contexts if c is not None)
