"""`with FSDP.state_dict_type(model, FULL_STATE_DICT, ...)` goes: options stand at the calls.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

A mode that only the run knows, or that calls depend on which can't be rewritten natively, becomes
the shim's, which keeps it for the shim's state-dict functions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import NOTHING, Name
from fsdp_migrate.findings.edits import Edit, LeaveContext, ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.dead_code import removals
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.state_dict_modes import ModePlan, mode_set_by
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding, finding_at
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short

NAMES = ("state_dict_type", "set_state_dict_type", "get_state_dict_type")

LOCAL = (
    "state_dict_type goes: an optimizer's state_dict() does not look at it, and holds this rank's "
    "part as before.  The values are DTensors now, so a file that FSDP1 wrote can't be loaded"
)


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Drop one mode, or hand it to the shim."""
    name = short(use.name)
    plan = mode_set_by(use, facts)
    units = facts.models(facts.analysis.wrapped(facts.value(_model(use))))
    if plan is not None and plan.native and _speaks_for(use, plan):
        return
    if plan is not None and plan.native and (plan.statement or plan.helper) is not None:
        local = plan.setting is not None and plan.setting.kind == "LOCAL"
        yield finding(
            RULE,
            use,
            LOCAL if local else f"{name} goes; the state-dict calls inside it state their options",
            tier=Tier.NATIVE,
            safety=Safety.UNSAFE if local else Safety.SAFE,
            edits=[*_gone(use, plan), *removals(facts, use.module, plan.absorbed)],
            models=units,
        )
        return
    yield finding(
        RULE,
        use,
        f"{name} goes through the shim",
        tier=Tier.SHIM,
        edits=[ReplaceExpression(use.module.span(use.node), Name(RUNTIME, name))],
        models=units,
    )


def _speaks_for(use: Use, plan: ModePlan) -> bool:
    """Whether the finding of what enters the context stands at the same place."""
    entries = plan.helper.entries if plan.helper is not None else ()
    start = use.module.span(use.node).start
    return any(e.module is use.module and e.module.span(e.call).start == start for e in entries)


def _gone(use: Use, plan: ModePlan) -> list[Edit]:
    """What takes the mode away: a function too that does nothing but hand it over."""
    span = use.module.span
    if plan.helper is not None:
        handing = plan.helper.statement
        return [ReplaceStatement(span(handing), NOTHING)] if handing is not None else []
    if isinstance(plan.statement, ast.Expr):
        return [ReplaceStatement(span(plan.statement), NOTHING)]
    return [LeaveContext(span(plan.call))]


def survey(facts: Facts) -> Iterable[Finding]:
    """The `with` statements that enter a context which was handed to them."""
    for plan in facts.modes.plans.values():
        if plan.entry_of is None or not plan.native or not plan.module.rewrite:
            continue
        made = facts.modes.plans[plan.entry_of].call
        given = made.args[:1] if isinstance(made, ast.Call) else []
        models = facts.analysis.wrapped(facts.value(given[0])) if given else set()
        yield finding_at(
            RULE,
            plan.module,
            plan.call,
            "the context goes with what handed it over; the state-dict calls inside state their "
            "options",
            tier=Tier.NATIVE,
            edits=[LeaveContext(plan.module.span(plan.call)), *_without_carriers(plan)],
            models=facts.models(models),
        )


def _without_carriers(plan: ModePlan) -> list[Edit]:
    """The edits that drop the assignments of what is entered, with the conditions around them."""
    module, carriers = plan.module, set(plan.carriers)
    dropped: dict[ast.stmt, None] = {}
    for statement in plan.carriers:
        around: ast.AST = statement
        parent = module.parents[around]
        while isinstance(parent, ast.If) and _is_empty_without(parent, carriers):
            around, parent = parent, module.parents[parent]
        assert isinstance(around, ast.stmt)
        dropped[around] = None
    return [ReplaceStatement(module.span(statement), NOTHING) for statement in dropped]


def _is_empty_without(statement: ast.If, carriers: set[ast.stmt]) -> bool:
    """Whether nothing is done in the branches of a condition but what goes."""
    return all(
        each in carriers or (isinstance(each, ast.If) and _is_empty_without(each, carriers))
        for each in (*statement.body, *statement.orelse)
    )


def _model(use: Use) -> ast.expr | None:
    call = use.call
    if call is None:
        return use.receiver
    named = [keyword.value for keyword in call.keywords if keyword.arg == "module"]
    return call.args[0] if call.args else named[0] if named else None


RULE = Rule(
    code="FSDP301",
    name="state-dict-type",
    summary="`state_dict_type` contexts go, their options move to the calls",
    why="FSDP2 keeps no state-dict mode; on its models FSDP1's context silently does nothing.",
    by_hand=(
        "say what the context says in each call that is made in it: get_model_state_dict, "
        "set_model_state_dict and those of the optimizer take "
        "StateDictOptions(full_state_dict=..., cpu_offload=...)"
    ),
    fix_safety=(
        "Safe: every call inside the context is rewritten with the same options.  Unsafe around an "
        "optimizer's own state_dict(), whose values are DTensors now: old files can't be loaded."
    ),
    needs=(
        "every call that can run inside the context is rewritten",
        "the type has a counterpart: full or sharded",
    ),
    check=check,
    survey=survey,
    symbols=tuple(f"{FSDP1}.{name}" for name in NAMES),
    methods=NAMES,
    surfaces=(
        Surface(
            "FullyShardedDataParallel.state_dict_type",
            "options of the calls inside",
            (Tier.NATIVE, Tier.SHIM),
        ),
        Surface(
            "FullyShardedDataParallel.set_state_dict_type",
            "options of the calls below",
            (Tier.NATIVE, Tier.SHIM),
        ),
        Surface("FullyShardedDataParallel.get_state_dict_type", "the shim's", (Tier.SHIM,)),
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullStateDictConfig, StateDictType
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def save(net, path, rank):
    model = FSDP(net)
    config = FullStateDictConfig(offload_to_cpu=True, rank0_only=True)
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, config):
        state = model.state_dict()
    if rank == 0:
        torch.save(state, path)
""",
            after="""\
import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
)
from torch.distributed.fsdp import fully_shard

def save(net, path, rank):
    model = fully_shard(net)
    state = get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    if rank == 0:
        torch.save(state, path)
""",
        ),
    ),
)
