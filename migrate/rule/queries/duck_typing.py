"""`hasattr(model, "no_sync")` and `getattr(model, "clip_grad_norm_", None)`.

Such code asks for FSDP1 by a method that FSDP2's models do not have, and goes another way when
it is missing: silently, and not the way it went.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Method, Unknown, constant
from fsdp_migrate.findings.finding import Finding, Import, ReplaceExpression, Tier
from fsdp_migrate.rule.queries.parameters import called, modules
from fsdp_migrate.rule.rule import Facts, Rule, finding_at, runtime
from fsdp_migrate.rule.uses import others_with, split
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module

HASATTR = "builtins.hasattr"
GETATTR = "builtins.getattr"


def asked_by_name(rule: Rule, facts: Facts, method: str) -> Iterator[Finding]:
    """What becomes of the places that ask objects for `method`, which is also the shim's name."""
    for module in modules(facts):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and len(node.args) >= 2 and not node.keywords:
                name = constant(facts.value(node.args[1]))
                if name is not None and name.value == method:
                    yield from _settle(rule, facts, module, node, method)


def _settle(
    rule: Rule, facts: Facts, module: Module, node: ast.Call, method: str
) -> Iterator[Finding]:
    asked = called(facts, node) & {HASATTR, GETATTR}
    value = facts.value(node.args[0])
    wraps, others = split(facts.solver, value)
    if len(asked) != 1 or not (wraps or any(isinstance(a, Unknown | Method) for a in value)):
        return
    certain = bool(wraps) and not others_with(facts.solver, others, method)
    template = "isinstance({0}, FSDPModule)"
    imports = {Import(ROOT, "FSDPModule")}
    tier = Tier.NATIVE
    if asked == {GETATTR}:
        tier = Tier.SHIM
        imports |= {runtime(method), Import("functools", "partial")}
        given = ", ".join(f"{{{i}}}" for i in range(len(node.args)))
        wanted = f"partial({method}, {{0}})"
        template = wanted if certain else f"{wanted} if {template} else getattr({given})"
        if certain:
            imports.discard(Import(ROOT, "FSDPModule"))
    elif not certain:
        template = f"{template} or hasattr({{0}}, {{1}})"
    if not certain and not isinstance(module.parents[node], ast.stmt | ast.IfExp):
        template = f"({template})"
    yield finding_at(
        rule,
        module,
        node,
        f"FSDP2's models have no {method}: they are known by their class",
        tier=tier,
        edits=[ReplaceExpression(module.span(node), template, tuple(map(module.span, node.args)))],
        imports=imports,
        units=facts.units(wraps),
    )
