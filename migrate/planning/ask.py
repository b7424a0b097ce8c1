"""Ask the rules about every use of FSDP1."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.lowering.state_dict_modes import OpenModes
from fsdp_migrate.rule.facts import Facts, Position, Use
from fsdp_migrate.rule.queries.unseen_calls import unseen_calls
from fsdp_migrate.rule.registry import Registry
from fsdp_migrate.rule.rule import Rule
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
            found = rule.survey(facts)
            findings.extend(
                f for f in found if facts.gone.get(_position(f), rule.code) == rule.code
            )
    return _unique(findings)


def _position(item: Finding) -> Position:
    return item.path, item.line, item.col


def places_that_go(facts: Facts, registry: Registry) -> dict[Position, str]:
    """What stands in statements that a rule takes out, and the rule's code.

    Nothing else is to be said of these places.  `facts` has every use, those inside too.
    """
    found: dict[Position, str] = {}
    for use in facts.uses:
        for rule in _owners(use, registry) if use.receiver is None else ():
            nodes = list(rule.replaces(use, facts)) if rule.replaces is not None else []
            if any(isinstance(node, ast.stmt) for node in nodes):
                for node in nodes:
                    if isinstance(node, ast.stmt | ast.expr):
                        span = use.module.span(node)
                        found[(use.module.path, span.line, span.col + 1)] = rule.code
    return found


def every_use(facts: Facts, registry: Registry) -> tuple[Use, ...]:
    """Every place that is FSDP1's business, or that of a library that rules speak of."""
    methods, symbols = frozenset(registry.by_method), frozenset(registry.by_symbol)
    return tuple(find_uses(facts.analysis, facts.parts, methods, symbols))


def calls_in_modes(facts: Facts, registry: Registry) -> Iterator[tuple[OpenModes, bool]]:
    """The calls that depend on a state-dict mode, and whether they can do without."""
    for use in facts.uses:
        for rule in _owners(use, registry):
            if rule.lowerable is not None and use.call is not None:
                yield facts.modes.around(facts.analysis, use.call), rule.lowerable(use, facts)
    for found in unseen_calls(facts):
        yield facts.modes.around(facts.analysis, found.call), False


def outermost_uses(facts: Facts, registry: Registry) -> tuple[Use, ...]:
    """The uses to ask about: all of them but those inside what a rule takes the place of."""
    replaced = {node for use in facts.uses for node in _replaced(use, facts, registry)}
    return tuple(use for use in facts.uses if use.node not in replaced)


def _owners(use: Use, registry: Registry) -> tuple[Rule, ...]:
    """The rules that a use is the business of."""
    if use.receiver is not None:
        return (registry.by_method[use.name],)
    return registry.owners(use.name)


def _replaced(use: Use, facts: Facts, registry: Registry) -> Iterable[ast.AST]:
    """What the fix of a library's name will take the place of."""
    if use.receiver is None:
        for rule in registry.owners(use.name):
            if rule.replaces is not None:
                yield from rule.replaces(use, facts)


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
