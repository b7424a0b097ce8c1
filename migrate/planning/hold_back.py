"""What can't be migrated as a whole is held back: half of a migration trains something else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.planning.suppressions import ignores_line
from fsdp_migrate.rule.facts import Facts, unit_name


def hold_back(findings: Iterable[Finding], facts: Facts) -> list[Finding]:
    """The findings, with the fixes that may be made, and without those that a comment silences."""
    allowed = [_allowed(item, facts) for item in findings]
    return [item for item in whole_units(allowed) if not _ignored(item, facts)]


def _allowed(item: Finding, facts: Facts) -> Finding:
    """`item` without its fix, if that touches what must be left alone."""
    reason = _forbidden(item, facts) if item.fix is not None else ""
    if not reason:
        return item
    return replace(item, tier=Tier.MANUAL, fix=None, message=f"{item.message}; left: {reason}")


def _forbidden(item: Finding, facts: Facts) -> str:
    """Why the fix of `item` must not be made, or nothing."""
    modules = facts.analysis.project.modules
    for plan in reversed(list(facts.wraps.values())):
        if unit_name(plan.fact.site) in item.models and not plan.fact.module.rewrite:
            where = f"{modules[plan.fact.site.module].path}:{plan.fact.site.line}"
            return f"the model is wrapped at {where}, which isn't among the given paths"
    if _ignored(item, facts):
        return "ignored by a comment"
    if item.tier is Tier.SHIM and facts.options.runtime == "never":
        return "there is no plain PyTorch for it, and the shim is ruled out (--runtime never)"
    return ""


def _ignored(item: Finding, facts: Facts) -> bool:
    """Whether the line that a finding is about has a comment that silences it."""
    module = facts.by_path.get(item.path)
    if module is None or not 0 < item.line <= len(module.lines):
        return False
    return ignores_line(module.lines[item.line - 1], item.code)


def whole_units(findings: Sequence[Finding]) -> list[Finding]:
    """Drop the fixes of units that something manual is part of.

    Wraps that share a use are one unit, and so are those that share a file, for a file's
    imports can serve one generation of FSDP only.
    """
    groups = _Groups()
    for item in findings:
        if item.tier is not Tier.NOTE:
            groups.join(_file(item), *item.models)
    blockers: dict[str, list[Finding]] = defaultdict(list)
    for item in findings:
        if item.tier is Tier.MANUAL and item.blocking:
            blockers[groups.of(_file(item))].append(item)
    return [_held_back(item, blockers.get(groups.of(_file(item)), [])) for item in findings]


def _held_back(item: Finding, blockers: Sequence[Finding]) -> Finding:
    """`item` without its fix, if something else of its unit has none."""
    if item.fix is None or not blockers:
        return item
    first = blockers[0]
    where = f"{first.path}:{first.line}"
    message = f"{item.message}; held back by {first.code} at {where}"
    return replace(item, tier=Tier.MANUAL, fix=None, message=message)


def _file(item: Finding) -> str:
    return f"file {item.path}"


class _Groups:
    """Names that belong together."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The name that stands for the group of `name`."""
        while self._parent.setdefault(name, name) != name:
            name = self._parent[name]
        return name

    def join(self, first: str, *others: str) -> None:
        """Make one group of all these names."""
        for other in others:
            self._parent[self.of(other)] = self.of(first)
