"""Collectives that only one rank calls: they hang, under FSDP1 and under FSDP2."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.hoisting import takes_no_other_rank
from fsdp_migrate.rule.queries.models import has_models
from fsdp_migrate.rule.queries.optimizers import forwards
from fsdp_migrate.rule.queries.rank_tests import rank_test
from fsdp_migrate.rule.queries.state_dict_modes import setting_at
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
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
    if not has_models(facts):
        return
    for use in facts.uses:
        if use.call is not None and _is_collective(use, facts):
            yield from _guarded(facts, use.module, use.call, facts.models(use.wraps))
    for module, call, _ in forwards(facts):
        yield from _guarded(facts, module, call, frozenset())


def _is_collective(use: Use, facts: Facts) -> bool:
    if use.receiver is None:
        return use.name in STATIC
    if use.name not in METHODS or not use.certain or use.is_part:
        return False
    if use.name != "state_dict":
        return True
    assert use.call is not None
    if takes_no_other_rank(use, facts):
        return False
    setting = setting_at(facts, use.call)
    return setting is not None and setting.kind == "FULL"


def _guarded(
    facts: Facts, module: Module, call: ast.Call, units: frozenset[str]
) -> Iterable[Finding]:
    guard = rank_test(facts, module, call)
    if guard is not None:
        yield finding_at(
            RULE,
            module,
            call,
            f"only some ranks get here (line {guard.lineno} tests the rank), and all have to take "
            "part: it hangs, under FSDP1 as under FSDP2.  Call it on every rank and use the result "
            "on one",
            tier=Tier.MANUAL,
            models=units,
            blocking=False,
        )


RULE = Rule(
    code="FSDP506",
    name="rank-guard",
    summary="collectives under `if rank == 0`",
    why=(
        "Gathering parameters takes every rank.  Called on one rank only it waits for the others "
        "for ever; FSDP2 changes nothing about that."
    ),
    fix_safety="There is no fix: who has to call what is for a person to say.",
    left=("Always.  Call it above the test of the rank, on every rank, and use the result on one."),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/fsdp.html",
        "https://docs.pytorch.org/docs/stable/distributed.checkpoint.html",
    ),
    examples=(
        Example(
            before="""\
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def save(net):
    model = FSDP(net)
    if dist.get_rank() == 0:
        torch.save(model.state_dict(), "model.pt")
""",
            after="""\
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
)
from torch.distributed.fsdp import fully_shard


def save(net):
    model = fully_shard(net)
    if dist.get_rank() == 0:
        torch.save(
            get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)),
            "model.pt",
        )
""",
        ),
    ),
)
