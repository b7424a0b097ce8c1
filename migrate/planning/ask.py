"""Ask the rules about every use of FSDP1."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.lowering.state_dict_modes import settle
from fsdp_migrate.rule.registry import Registry
from fsdp_migrate.rule.rule import Facts, Rule, Use
from fsdp_migrate.rule.uses import find_uses
from fsdp_migrate.syntax.fsdp1_names import FSDP1

UNOWNED = "FSDP900"
STALE = frozenset({"torch.distributed.fsdp.wrap.default_auto_wrap_policy"})


def ask(facts: Facts, registry: Registry) -> list[Finding]:
    """Everything that the rules have to say, each thing once."""
    findings: list[Finding] = []
    for use in facts.uses:
        findings.extend(_ask_owners(use, facts, registry))
    for rule in registry:
        if rule.survey is not None:
            findings.extend(rule.survey(facts))
    return _unique(findings)


def find_questions(facts: Facts, registry: Registry) -> list[Use]:
    """The uses to ask about: all of them but those inside what a rule takes the place of."""
    methods, symbols = frozenset(registry.by_method), frozenset(registry.by_symbol)
    uses = list(find_uses(facts.solver, methods, symbols))
    absorbed = {node for use in uses for node in _absorbed(use, facts, registry)}
    return [use for use in uses if use.node not in absorbed]


def settle_contexts(facts: Facts, registry: Registry) -> None:
    """Decide which state-dict contexts go; the calls inside them say whether they can."""
    calls = []
    for use in facts.uses:
        for rule in _owners(use, registry):
            if rule.lowerable is not None and use.call is not None:
                open_modes = facts.solver.modes_at(use.call)
                calls.append((open_modes, rule.lowerable(use, facts)))
    settle(facts.contexts, calls)


def _owners(use: Use, registry: Registry) -> tuple[Rule, ...]:
    """The rules that a use is the business of."""
    if use.receiver is not None:
        return (registry.by_method[use.name],)
    return registry.owners(use.name)


def _absorbed(use: Use, facts: Facts, registry: Registry) -> Iterable[ast.AST]:
    """What the fix of a library's name will take the place of."""
    if use.receiver is None:
        for rule in registry.owners(use.name):
            if rule.absorbs is not None:
                yield from rule.absorbs(use, facts)


def _ask_owners(use: Use, facts: Facts, registry: Registry) -> Iterable[Finding]:
    owners = _owners(use, registry)
    found = [item for rule in owners for item in rule.check(use, facts)]
    expected = (
        use.receiver is not None
        or not use.name.startswith(f"{FSDP1}.")
        or any(use.name in rule.symbols for rule in owners)
    )
    return found if found or (owners and expected) else [_unowned(use)]


def _unowned(use: Use) -> Finding:
    """What is said of a name that no rule has anything to say about."""
    stale = use.name in STALE
    if stale:
        message = f"`{use.name}` went with torch 1.11 and this code can't run; remove it"
    else:
        message = f"`{use.name}` belongs to FSDP1 and no rule covers it; migrate it by hand"
    span = use.module.span(use.node)
    return Finding(
        path=use.module.path,
        line=span.line,
        col=span.col + 1,
        code=UNOWNED,
        message=message,
        tier=Tier.MANUAL,
        blocking=not stale,
    )


def _unique(findings: Iterable[Finding]) -> list[Finding]:
    seen: set[tuple[Path, int, int, str, str]] = set()
    result = []
    for item in findings:
        key = (item.path, item.line, item.col, item.code, item.message)
        if key not in seen:
            seen.add(key)
            result.append(item)
    return result
