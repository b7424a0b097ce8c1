"""Where a model is wrapped, for a method of it to be registered there."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.findings.code import Name
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module

REGISTER = Name(ROOT, "register_fsdp_forward_method")


@dataclass(frozen=True)
class WrapStatement:
    """`model = FSDP(...)`."""

    module: Module
    statement: ast.Assign
    model: ast.expr
    plan: WrapPlan


def wrap_statement(facts: Facts, model: ast.expr) -> WrapStatement | None:
    """Where a model is wrapped, and what it is called there."""
    wraps = models(facts.value(model))
    plan = facts.plan(next(iter(wraps))) if len(wraps) == 1 else None
    if plan is None or plan.shape != "assign":
        return None
    module = plan.fact.module
    statement = module.statement(plan.fact.node)
    if not module.rewrite or not isinstance(statement, ast.Assign):
        return None
    return WrapStatement(module, statement, statement.targets[0], plan)
