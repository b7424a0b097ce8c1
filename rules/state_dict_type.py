"""`with FSDP.state_dict_type(model, FULL_STATE_DICT, ...)` goes: options stand at the calls.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

A context whose kind only the run knows, or that holds calls which can't be rewritten natively,
becomes the shim's, which keeps the mode for the shim's state-dict functions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, ReplaceExpression, ReplaceStatement, Tier
from fsdp_migrate.rule.dead_code import removals
from fsdp_migrate.rule.rule import Example, Facts, Rule, Surface, Use, finding, runtime
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short
from fsdp_migrate.syntax.span import Span

NAMES = ("state_dict_type", "set_state_dict_type", "get_state_dict_type")


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Drop one context, or hand it to the shim."""
    name = short(use.name)
    site = use.module.site(use.call) if use.call is not None else None
    plan = facts.contexts.plans.get(site) if site is not None else None
    units = facts.units(facts.solver.wrapped(facts.value(_model(use))))
    if plan is not None and plan.native and plan.statement is not None:
        statement = plan.statement
        gone = ReplaceStatement(use.module.span(statement), "")
        edit = _dissolve(use, statement) if isinstance(statement, ast.With) else gone
        edits = [edit, *removals(facts, use.module, plan.absorbed)]
        yield finding(
            RULE,
            use,
            f"{name} goes; the state-dict calls inside it state their options",
            tier=Tier.NATIVE,
            edits=edits,
            units=units,
        )
        return
    yield finding(
        RULE,
        use,
        f"{name} goes through the shim",
        tier=Tier.SHIM,
        edits=[ReplaceExpression(use.module.span(use.node), name)],
        imports=[runtime(name)],
        units=units,
    )


def _model(use: Use) -> ast.expr | None:
    call = use.call
    if call is None:
        return use.receiver
    named = [k.value for k in call.keywords if k.arg == "module"]
    return call.args[0] if call.args else named[0] if named else None


def _dissolve(use: Use, statement: ast.With) -> ReplaceStatement:
    span = use.module.span(statement)
    kept = [item for item in statement.items if item.context_expr is not use.call]
    if not kept:
        return ReplaceStatement(span, "{body}")
    parts: list[str] = []
    holes: list[Span] = []
    for item in kept:
        text = f"{{{len(holes)}}}"
        holes.append(use.module.span(item.context_expr))
        if item.optional_vars is not None:
            text += f" as {use.module.text(item.optional_vars)}"
        parts.append(text)
    return ReplaceStatement(span, f"with {', '.join(parts)}:\n    {{body}}", tuple(holes))


RULE = Rule(
    code="FSDP301",
    name="state-dict-type",
    summary="`state_dict_type` contexts go, their options move to the calls",
    why="FSDP2 keeps no state-dict mode; on its models FSDP1's context silently does nothing.",
    fix_safety="Safe: every call inside the context is rewritten with the same options.",
    check=check,
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
