"""Collectives that only one rank calls: they hang, under FSDP1 and under FSDP2."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.queries.collectives import is_rank
from fsdp_migrate.rule.queries.optimizers import forwards
from fsdp_migrate.rule.queries.values import literals
from fsdp_migrate.rule.rule import Facts, Rule, Use, finding_at, no_uses
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module

METHODS = frozenset({"state_dict", "clip_grad_norm_", "summon_full_params"})
STATIC = frozenset(
    {
        f"{FSDP1}.{name}"
        for name in (
            "summon_full_params", "optim_state_dict", "full_optim_state_dict",
            "sharded_optim_state_dict", "scatter_full_optim_state_dict",
        )
    }
)  # fmt: skip


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at every collective for a test of the rank around it."""
    if not facts.solver.wraps:
        return
    for use in facts.uses:
        if use.call is not None and _is_collective(use, facts):
            yield from _guarded(facts, use.module, use.call, facts.units(use.wraps))
    for module, call, _ in forwards(facts):
        yield from _guarded(facts, module, call, frozenset())


def _is_collective(use: Use, facts: Facts) -> bool:
    if use.receiver is None:
        return use.name in STATIC
    if use.name not in METHODS or not use.certain:
        return False
    if use.name != "state_dict":
        return True
    assert use.call is not None
    setting = facts.contexts.setting(facts.solver.modes_at(use.call))
    return setting is not None and setting.kind == "FULL"


def _guarded(
    facts: Facts, module: Module, call: ast.Call, units: frozenset[str]
) -> Iterable[Finding]:
    guard = _guard(facts, module, call)
    if guard is not None:
        yield finding_at(
            RULE,
            module,
            call,
            f"only some ranks get here (line {guard.lineno} tests the rank), and all have to take "
            "part: it hangs, under FSDP1 as under FSDP2.  Call it on every rank and use the result "
            "on one",
            tier=Tier.MANUAL,
            units=units,
            blocking=False,
        )


def _guard(facts: Facts, module: Module, call: ast.Call) -> ast.expr | None:
    """The test of the rank that `call` depends on, in its own function."""
    child: ast.AST = call
    for parent in module.ancestors(call):
        if isinstance(parent, ast.If | ast.IfExp):
            body = parent.body if isinstance(parent.body, list) else [parent.body]
            orelse = parent.orelse if isinstance(parent.orelse, list) else [parent.orelse]
            on_one = _tests_rank(facts, module, parent.test)
            if (child in body and on_one is True) or (child in orelse and on_one is False):
                return parent.test
        if isinstance(child, ast.stmt):
            block = module.block(child)
            for before in block[: block.index(child)]:
                if not isinstance(before, ast.If) or before.orelse:
                    continue
                if isinstance(before.body[-1], ast.Return):
                    if _tests_rank(facts, module, before.test) is False:
                        return before.test
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return None
        child = parent
    return None


def _tests_rank(facts: Facts, module: Module, test: ast.expr) -> bool | None:
    """True if `test` holds on one rank only, False on all others, None if it is no such test."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _tests_rank(facts, module, test.operand)
        if inner is None and is_rank(facts, module, test.operand):
            return True
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        parts = [_tests_rank(facts, module, part) for part in test.values]
        return True if True in parts else None
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and is_rank(facts, module, test.left):
        if literals(facts.value(test.comparators[0])) != [0]:
            return None
        if isinstance(test.ops[0], ast.Eq | ast.LtE):
            return True
        if isinstance(test.ops[0], ast.NotEq | ast.Gt):
            return False
    return None


RULE = Rule(
    code="FSDP506",
    name="rank-guard",
    summary="collectives under `if rank == 0`",
    why=(
        "Gathering parameters takes every rank.  Called on one rank only it waits for the others "
        "for ever; FSDP2 changes nothing about that."
    ),
    fix_safety="There is no fix: who has to call what is for a person to say.",
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/fsdp.html",
        "https://docs.pytorch.org/docs/stable/distributed.checkpoint.html",
    ),
)
