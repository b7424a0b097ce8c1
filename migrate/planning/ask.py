"""Ask the rules about every use, and drop what can't be migrated as a whole."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fsdp_migrate.analysis.analysis import analyse
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.findings.options import Options
from fsdp_migrate.lowering.state_dict_modes import find_contexts, settle
from fsdp_migrate.lowering.wraps import plan_wraps
from fsdp_migrate.rule.dead_code import removed_nodes
from fsdp_migrate.rule.registry import (
    all_rules,
    owned_symbols,
    owners_of_methods,
    owners_of_symbol,
)
from fsdp_migrate.rule.rule import Facts, Use, unit_name
from fsdp_migrate.rule.uses import find_uses
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.project import Project

UNOWNED = "FSDP900"
STALE = frozenset({"torch.distributed.fsdp.wrap.default_auto_wrap_policy"})
IGNORE = re.compile(r"#\s*fsdp-migrate:\s*ignore(?:\[([^\]]*)\])?")


def decide(project: Project, options: Options) -> tuple[Facts, list[Finding]]:
    """Everything that the rules have to say about `project`, whole units or nothing."""
    solver = analyse(project)
    facts = Facts(solver, options, plan_wraps(solver), find_contexts(solver))
    facts.uses = list(find_uses(solver, frozenset(owners_of_methods()), owned_symbols()))
    absorbed = {node for use in facts.uses for node in _absorbed(use, facts)}
    facts.uses = [use for use in facts.uses if use.node not in absorbed]
    _settle_contexts(facts)
    facts.removed = removed_nodes(facts)
    findings: list[Finding] = []
    for use in facts.uses:
        findings.extend(_ask(use, facts))
    for rule in all_rules():
        if rule.survey is not None:
            findings.extend(rule.survey(facts))
    findings = [_allowed(item, facts) for item in _unique(findings)]
    return facts, [item for item in hold_back(findings) if not _ignored(item, facts)]


def _allowed(item: Finding, facts: Facts) -> Finding:
    """`item` without its fix, if that touches what must be left alone."""
    if item.fix is None:
        return item
    project = facts.solver.project
    reason = ""
    if _ignored(item, facts):
        reason = "ignored by a comment"
    elif item.tier is Tier.SHIM and facts.options.runtime == "never":
        reason = "there is no plain PyTorch for it, and the shim is ruled out (--runtime never)"
    for plan in facts.plans.values():
        if unit_name(plan.fact.site) in item.units and not plan.fact.module.rewrite:
            where = f"{project.modules[plan.fact.site.module].path}:{plan.fact.site.line}"
            reason = f"the model is wrapped at {where}, which isn't among the given paths"
    if not reason:
        return item
    return replace(item, tier=Tier.MANUAL, fix=None, message=f"{item.message}; left: {reason}")


def _ignored(item: Finding, facts: Facts) -> bool:
    """Whether the line has a comment `# fsdp-migrate: ignore`, with or without codes."""
    module = facts.by_path.get(item.path)
    if module is None or not 0 < item.line <= len(module.lines):
        return False
    found = IGNORE.search(module.lines[item.line - 1])
    if found is None:
        return False
    codes = found.group(1)
    return codes is None or item.code in {code.strip() for code in codes.split(",")}


def _absorbed(use: Use, facts: Facts) -> Iterable[ast.AST]:
    """What the fix of a library's name will take the place of."""
    if use.receiver is None:
        for rule in owners_of_symbol(use.name):
            if rule.absorbs is not None:
                yield from rule.absorbs(use, facts)


def _settle_contexts(facts: Facts) -> None:
    """Decide which state-dict contexts go; the calls inside them say whether they can."""
    calls = []
    for use in facts.uses:
        rules = (
            [owners_of_methods()[use.name]]
            if use.receiver is not None
            else owners_of_symbol(use.name)
        )
        for rule in rules:
            if rule.lowerable is not None and use.call is not None:
                open_modes = facts.solver.modes_at(use.call)
                calls.append((open_modes, rule.lowerable(use, facts)))
    settle(facts.contexts, calls)


def _ask(use: Use, facts: Facts) -> Iterable[Finding]:
    if use.receiver is not None:
        return owners_of_methods()[use.name].check(use, facts)
    owners = owners_of_symbol(use.name)
    if owners:
        found = [item for rule in owners for item in rule.check(use, facts)]
        exact = any(use.name in rule.symbols for rule in owners)
        if found or exact or not use.name.startswith(f"{FSDP1}."):
            return found
    span = use.module.span(use.node)
    if use.name in STALE:
        message = f"`{use.name}` went with torch 1.11 and this code can't run; remove it"
        return [
            Finding(
                use.module.path,
                span.line,
                span.col + 1,
                UNOWNED,
                message,
                Tier.MANUAL,
                blocking=False,
            )
        ]
    message = f"`{use.name}` belongs to FSDP1 and no rule covers it; migrate it by hand"
    return [Finding(use.module.path, span.line, span.col + 1, UNOWNED, message, Tier.MANUAL)]


def _unique(findings: Iterable[Finding]) -> list[Finding]:
    seen: set[tuple[Path, int, int, str, str]] = set()
    result = []
    for item in findings:
        key = (item.path, item.line, item.col, item.code, item.message)
        if key not in seen:
            seen.add(key)
            result.append(item)
    return result


def hold_back(findings: list[Finding]) -> list[Finding]:
    """Drop the fixes of units that something manual is part of.

    Wraps that share a use are one unit, and so are those that share a file, for a file's
    imports can serve one generation of FSDP only.
    """
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for item in findings:
        names = [f"file {item.path}", *item.units] if item.tier is not Tier.NOTE else []
        for name in names[1:]:
            parent[find(name)] = find(names[0])
    blocked: dict[str, list[Finding]] = defaultdict(list)
    for item in findings:
        if item.tier is Tier.MANUAL and item.blocking:
            blocked[find(f"file {item.path}")].append(item)
    result = []
    for item in findings:
        blockers = blocked.get(find(f"file {item.path}"), [])
        if item.fix is not None and blockers:
            first = blockers[0]
            where = f"{first.path}:{first.line}"
            message = f"{item.message}; held back by {first.code} at {where}"
            item = replace(item, tier=Tier.MANUAL, fix=None, message=message)
        result.append(item)
    return result
