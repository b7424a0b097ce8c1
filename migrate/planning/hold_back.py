"""What can't be migrated as a whole is held back: half of a migration trains something else."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Place, Safety, Tier
from fsdp_migrate.planning.stale_comments import Stale, stale
from fsdp_migrate.planning.stops import with_stops
from fsdp_migrate.planning.suppressions import Suppression, Suppressions, ignores_file
from fsdp_migrate.planning.units import Role, Units
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.registry import Registry
from fsdp_migrate.syntax.nodes import nodes_in

LEFT_OUT = "FSDP110"


@dataclass(frozen=True)
class Plan:
    """The findings with the fixes that are made, and those that the user wants left alone."""

    findings: tuple[Finding, ...]
    silenced: tuple[Finding, ...] = ()  # by comments
    ruled_out: tuple[Finding, ...] = ()  # by the options
    stale: tuple[Stale, ...] = ()  # comments that silence nothing


def hold_back(findings: Iterable[Finding], facts: Facts, registry: Registry) -> Plan:
    """Take away the fixes that must not be made, and say because of what."""
    every = list(findings)
    units = Units(every, facts)
    blockers = _Blockers(facts, {rule.code: rule.by_hand for rule in registry})
    allowed = [blockers.allowed(item, role) for item, role in zip(every, units.roles, strict=True)]
    first = _first_blockers(allowed, units, blockers)
    held = [
        _beside(_held_back(item, role, first, units), role, first, units, blockers)
        for item, role in zip(allowed, units.roles, strict=True)
    ]
    if facts.options.allow_incomplete:
        held = with_stops(held, _left_alone(held, units, first), facts)
    own = [item for item in held if blockers.is_given(item)]
    said = [item for item in own if not blockers.is_silenced(item)]
    said += _left_out(held, units, blockers)
    rules_out = facts.options.rules_out
    return Plan(
        tuple(item for item in said if not rules_out(item.code)),
        tuple(item for item in every if blockers.is_silenced(item)),
        tuple(item for item in said if rules_out(item.code)),
        tuple(blockers.stale_comments(every, registry.by_code)),
    )


def _ruled_out(by_hand: str) -> str:
    """What is said of a fix that would need the shim, where that must not be used."""
    why = "there is no plain PyTorch for it, and the shim is ruled out (--runtime never)"
    return f"{why}: {by_hand}" if by_hand else why


def _first_blockers(
    findings: Sequence[Finding], units: Units, blockers: _Blockers
) -> Mapping[str, Finding]:
    """By group, the first finding that holds it back."""
    found: dict[str, Finding] = {}
    for item, role in zip(findings, units.roles, strict=True):
        if role.shares and blockers.blocks(item):
            found.setdefault(units.group(role.shares[0]), item)
    return found


def _left_alone(
    findings: Sequence[Finding], units: Units, first: Mapping[str, Finding]
) -> set[Place]:
    """The places that stay as they are while what depends on them is migrated."""
    migrated = {
        units.group(name)
        for item, role in zip(findings, units.roles, strict=True)
        for name in (*role.shares, *role.follows)
        if item.fix is not None
    }
    return {
        item.place
        for item, role in zip(findings, units.roles, strict=True)
        if item.tier is Tier.MANUAL and item.blocking and item.fix is None and not item.held_by
        if migrated.intersection(units.group(name) for name in (*role.shares, *role.follows))
        if units.group(role.shares[0]) not in first
    }


def _held_back(item: Finding, role: Role, first: Mapping[str, Finding], units: Units) -> Finding:
    """`item` without its fix, if something that it depends on stays."""
    if item.fix is None:
        return item
    names = (*role.shares[:1], *role.follows)
    because = next((first[g] for name in names if (g := units.group(name)) in first), None)
    if because is None:
        return item
    where = f"{because.path}:{because.line}"
    message = f"{item.message}; held back by {because.code} at {where}"
    return replace(item, tier=Tier.MANUAL, fix=None, message=message, held_by=because.place)


def _beside(
    item: Finding, role: Role, first: Mapping[str, Finding], units: Units, blockers: _Blockers
) -> Finding:
    """`item` with the first of those that hold back the same, if it is another one of them."""
    if not role.shares or item.held_by is not None or not blockers.blocks(item):
        return item
    because = first[units.group(role.shares[0])]
    return item if because.place == item.place else replace(item, blocks_with=because.place)


def _left_out(findings: Sequence[Finding], units: Units, blockers: _Blockers) -> Iterable[Finding]:
    """The files that aren't given and share a model with some that are, each by one finding."""
    given: set[str] = set()
    for item, role in zip(findings, units.roles, strict=True):
        if blockers.is_given(item) and item.tier is not Tier.NOTE:
            given.update(units.group(name) for name in (*role.shares, *role.follows))
    said: dict[Path, Finding] = {}
    for item, role in zip(findings, units.roles, strict=True):
        names = (*role.shares, *role.follows) if item.code == LEFT_OUT else ()
        if given.intersection(units.group(name) for name in names):
            known = said.setdefault(item.path, item)
            if item.blocking and not known.blocking:
                said[item.path] = item
    return said.values()


class _Blockers:
    """Which findings stay as they are, whatever the others do."""

    def __init__(self, facts: Facts, by_hand: Mapping[str, str]) -> None:
        self._facts = facts
        self._by_hand = by_hand  # what to write without the shim, by code
        self._modules = facts.by_path
        self._comments = {path: Suppressions(each) for path, each in facts.by_path.items()}
        modules = facts.analysis.project.modules
        self._wraps = {(modules[site.module].path, site.line) for site in facts.wraps}

    def allowed(self, item: Finding, role: Role) -> Finding:
        """`item` without its fix, if that touches what must be left alone."""
        if not self.is_given(item):
            return self._left_out(item, in_use=bool(role.shares) and not role.follows)
        can_act = item.fix is not None or self._is_risky(item)
        reason = self._forbidden(item) if can_act else ""
        if not reason:
            return item
        return replace(item, tier=Tier.MANUAL, fix=None, message=f"{item.message}; left: {reason}")

    def is_given(self, item: Finding) -> bool:
        """Whether a finding is about a file that may be changed."""
        module = self._modules.get(item.path)
        return module is None or module.given

    def is_silenced(self, item: Finding) -> bool:
        """Whether a comment at the place that a finding is about, or in its file, silences it."""
        module = self._modules.get(item.path)
        if module is not None and not module.given:
            return ignores_file(module.source.text)
        return bool(self._asking(item))

    def blocks(self, item: Finding) -> bool:
        """Whether a finding without a fix holds others back."""
        if item.tier is not Tier.MANUAL or not item.blocking:
            return False
        if any(comment.takes_over(item.code) for comment in self._asking(item)):
            return False
        return not self._facts.options.allow_incomplete or self._keeps_fsdp1(item)

    def stale_comments(
        self, findings: Sequence[Finding], known: Collection[str]
    ) -> Iterator[Stale]:
        """What is wrong with the comments that ask to leave places alone."""
        used: dict[tuple[Path, Suppression], set[str]] = defaultdict(set)
        for item in findings:
            for comment in self._asking(item):
                used[item.path, comment].add(item.code)
        for path, comments in self._comments.items():
            for comment in comments.all if self._modules[path].given else ():
                yield from stale(path, comment, used[path, comment], known)

    def _asking(self, item: Finding) -> tuple[Suppression, ...]:
        """The comments that ask to leave a place alone."""
        comments = self._comments.get(item.path)
        return () if comments is None else comments.of(item.line, item.code)

    def _left_out(self, item: Finding, *, in_use: bool) -> Finding:
        """A finding about a file that is not given: all that counts is whether it must change."""
        if item.tier is Tier.NOTE or (item.tier is Tier.MANUAL and not item.blocking):
            return item
        module = self._modules[item.path]
        ignored = ignores_file(module.source.text)
        why = "a comment in it says ignore-file" if ignored else "it isn't among the given paths"
        message = f"{item.message}; this has to change with the rest, and {why}"
        return replace(
            item, code=LEFT_OUT, tier=Tier.MANUAL, fix=None, message=message, blocking=in_use
        )

    def _forbidden(self, item: Finding) -> str:
        """Why the fix of `item` must not be made, or nothing."""
        if self.is_silenced(item):
            return "ignored by a comment"
        if self._facts.options.rules_out(item.code):
            return "ruled out by --select or --ignore"
        if self._is_risky(item):
            return "it can change the outcome of a run (--safe-only)"
        if item.tier is Tier.SHIM and self._facts.options.runtime == "never":
            return _ruled_out(self._by_hand.get(item.code, ""))
        return ""

    def _is_risky(self, item: Finding) -> bool:
        """Whether a finding, a note of what a migration changes too, rules the migration out."""
        is_left = item.tier is Tier.MANUAL
        return self._facts.options.safe_only and item.safety is Safety.UNSAFE and not is_left

    def _keeps_fsdp1(self, item: Finding) -> bool:
        """Whether a model stays FSDP1's with what a finding is about: a wrap, or a subclass."""
        if (item.path, item.line) in self._wraps:
            return True
        module = self._modules[item.path]
        classes = (node for node in nodes_in(module.tree) if isinstance(node, ast.ClassDef))
        return any(base.lineno == item.line for each in classes for base in each.bases)
