"""The class as a value that something calls: what takes its place, or which call is in the way."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Symbol
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.class_fates import Fate
from fsdp_migrate.rule.queries.class_flow import fates, is_named
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module

HARMLESS = frozenset({Fate.CALLED, Fate.SHOWN})


def calls_by_value(facts: Facts, module: Module) -> Iterator[WrapPlan]:
    """The calls of a program by which the class makes models under another name than its own."""
    program = facts.analysis.project.program_of(module.name)
    for plan in facts.wraps.values():
        fact = plan.fact
        itself = not fact.partials or Symbol(FSDP1) in facts.value(fact.node.func)
        if fact.module.name in program and itself and not fact.contexts:
            if not is_named(facts, fact.module, fact.node.func):
                yield plan


def made_by_value(facts: Facts, module: Module) -> frozenset[str]:
    """The models that are made so."""
    plans = calls_by_value(facts, module)
    return facts.models(model for plan in plans for model in plan.models)


def in_the_way(facts: Facts, module: Module, node: ast.expr) -> str:
    """Why the class at `node` can't become `fully_shard`; nothing if it can."""
    found = fates(facts, module, node)
    if not found.through_known | found.through_others <= HARMLESS:
        around = (a for a in module.ancestors(node) if isinstance(a, ast.Call))
        taker = next((module.text(a.func) for a in around if a.func is not node), "")
        return f"`{taker}` is given it, and isn't followed" if taker else "it isn't followed"
    for plan in calls_by_value(facts, module):
        if not plan.native:
            where = f"{plan.fact.module.path.name}:{plan.fact.node.lineno}"
            return f"{plan.reason} ({where})"
        if plan.parts.residues and Symbol(FSDP1) not in facts.value(plan.fact.node.func):
            return plan.reason
    return ""


def is_bound_by_instances(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether a function at `node` is an attribute of a class, which becomes a method."""
    scope, statement = module.scope(node), module.parents[node]
    if not isinstance(scope, ast.ClassDef) or not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    info = facts.analysis.classes.get(module.site(scope))
    return info is None or not info.is_dataclass or isinstance(statement, ast.Assign)
