"""Programs whose `FSDP(model, **kwargs)` name their arguments, tried out beside the one as written.

Naming the arguments changes nothing but what can be said of each.  It is kept for the calls that
become plain calls so; the others stay as they are written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.findings.edits import Respell
from fsdp_migrate.findings.finding import Finding, Place, Tier
from fsdp_migrate.lowering.spread_arguments import Spelt, spelt_out
from fsdp_migrate.planning.hold_back import Plan
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.project import Project
from fsdp_migrate.syntax.span import Site
from fsdp_migrate.syntax.splices import Splice, Spliced, splice

CONSTRUCTOR = "FSDP101"
Number = tuple[str, int]  # of a call among those of its module, which keep their order


@dataclass(frozen=True, eq=False)
class SpeltOut:
    """A program with arguments that are named, and how to get back to the one as written."""

    project: Project
    calls: Mapping[Number, Spelt]  # as they were written
    files: Mapping[Path, Spliced]

    def left(self, facts: Facts, plan: Plan) -> frozenset[Number]:
        """The calls that become no plain calls, of those that name their arguments now."""
        fixed = {f.place for f in plan.findings if f.fix is not None and f.code == CONSTRUCTOR}
        sites = {number: site for site, number in _numbers(facts).items()}
        return frozenset(
            number
            for number in self.calls
            if number not in sites
            or not facts.wraps[sites[number]].native
            or _place(facts.wraps[sites[number]].fact) not in fixed
        )

    def as_written(self, finding: Finding) -> Finding:
        """A finding at the place where its subject is written."""
        fix = finding.fix
        words = self._respelt.get(finding.place) if finding.code == CONSTRUCTOR else None
        if fix is not None and words is not None:
            edits = {**fix.edits, finding.path: (*fix.edits.get(finding.path, ()), *words)}
            fix = replace(fix, edits=edits)
        return replace(
            finding,
            fix=fix,
            col=self._column(finding.place),
            held_by=self._place(finding.held_by),
            blocks_with=self._place(finding.blocks_with),
        )

    @cached_property
    def _respelt(self) -> Mapping[Place, tuple[Respell, ...]]:
        """What has been put in other words for a call, by its place in the new text."""
        found: dict[Place, tuple[Respell, ...]] = {}
        for spelt in self.calls.values():
            place = _place(spelt.fact)
            file = self.files[place.path]
            new = replace(place, col=file.new_column(place.line, place.col - 1) + 1)
            found[new] = tuple(Respell(s.span, s.text) for s in spelt.splices)
        return found

    def _place(self, place: Place | None) -> Place | None:
        return replace(place, col=self._column(place)) if place is not None else None

    def _column(self, place: Place) -> int:
        file = self.files.get(place.path)
        return file.column(place.line, place.col - 1) + 1 if file is not None else place.col


def spell_out(facts: Facts, without: frozenset[Number]) -> SpeltOut | None:
    """The program with the arguments of all calls named that can; None if there is no such call.

    The calls `without` stay as they are.
    """
    numbers = _numbers(facts)
    open_calls = [
        plan.fact
        for site, plan in facts.wraps.items()
        if not plan.native and numbers[site] not in without
    ]
    spelt = spelt_out(facts.analysis, open_calls)
    if not spelt:
        return None
    return _spliced(facts, {numbers[each.fact.site]: each for each in spelt})


def _spliced(facts: Facts, calls: Mapping[Number, Spelt]) -> SpeltOut:
    splices: dict[str, set[Splice]] = defaultdict(set)
    for each in calls.values():
        splices[each.fact.module.name] |= set(each.splices)
    modules, files = dict(facts.analysis.project.modules), {}
    for name, some in splices.items():
        old = modules[name]
        made = splice(old.source.text, some)
        source = replace(old.source, text=made.text, width=old.line_length)
        new = parse(source, name, old.given)
        new.rewrite = old.rewrite
        modules[name], files[old.path] = new, made
    return SpeltOut(Project.of(modules.values()), calls, files)


def is_no_worse(findings: Iterable[Finding], before: Iterable[Finding]) -> bool:
    """Whether no more is left for a person than before."""
    return _manual(findings) <= _manual(before)


def _manual(findings: Iterable[Finding]) -> int:
    return sum(finding.tier is Tier.MANUAL for finding in findings)


def _numbers(facts: Facts) -> dict[Site, Number]:
    """The constructor calls by their module, and their order there."""
    found: dict[Site, Number] = {}
    counts: dict[str, int] = defaultdict(int)
    for site in sorted(facts.wraps):
        found[site] = (site.module, counts[site.module])
        counts[site.module] += 1
    return found


def _place(fact: WrapFact) -> Place:
    span = fact.module.span(fact.node.func)
    return Place(fact.module.path, span.line, span.col + 1, CONSTRUCTOR)
