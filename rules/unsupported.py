"""What no sharded model supports, and what FSDP2 has nothing for.

`copy.deepcopy(model)` and DDP around FSDP fail under both; they are named, and in nobody's way.
Optimizers inside the backward pass and gradients kept in low precision are for a person.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.models import models_given, models_trained, only_models
from fsdp_migrate.rule.queries.parameters import called, calls, is_summoned, modules
from fsdp_migrate.rule.queries.values import literals
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module

COPYING = {
    "copy.deepcopy": "copy.deepcopy",
    "torch.optim.swa_utils.AveragedModel": "AveragedModel",
}
DDP = "torch.nn.parallel.DistributedDataParallel"
IN_BACKWARD = frozenset(
    {
        "torch.distributed.optim._apply_optimizer_in_backward",
        "torch.distributed.optim.apply_optimizer_in_backward._apply_optimizer_in_backward",
    }
)
MIXED_PRECISION = f"{ROOT}.MixedPrecision"
KEEP = "keep_low_precision_grads"
FLOAT32_GRADIENTS = (
    f"{KEEP} has no counterpart: FSDP2 hands the optimizer the reduced gradients in the dtype of "
    "the parameters, which takes more memory; a momentum that was in the dtype of the gradients "
    "is in float32, and gradients that were reduced in float32 are no longer rounded"
)
FULL_PRECISION = "FSDP_USE_FULL_PREC_IN_EVAL"


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at every call, and at one variable of the environment."""
    yield from _full_precision(facts)
    for module, call in calls(facts):
        names = called(facts, call)
        yield from _copies(facts, module, call, names)
        if MIXED_PRECISION in names:
            yield from _low_precision(facts, module, call)
        if names & IN_BACKWARD:
            yield from _in_backward(facts, module, call)


def _copies(facts: Facts, module: Module, call: ast.Call, names: set[str]) -> Iterator[Finding]:
    models = only_models(facts, call.args[0]) if call.args else None
    if not models:
        return
    for name in sorted(names & COPYING.keys()):
        if not is_summoned(facts, module, call):
            yield finding_at(
                RULE,
                module,
                call,
                f"{COPYING[name]} of a sharded model fails, under FSDP1 as under FSDP2: copy it "
                "before it is sharded, or keep an average shard by shard "
                "(`e.mul_(d).add_(p.detach(), alpha=1 - d)` works on DTensors)",
                tier=Tier.MANUAL,
                models=facts.models(models),
                blocking=False,
            )
    if DDP in names:
        yield finding_at(
            RULE,
            module,
            call,
            "DDP around an FSDP model hangs under FSDP1, and FSDP2 refuses it: for replicas of "
            'shards give fully_shard a mesh with the dimensions ("replicate", "shard")',
            tier=Tier.MANUAL,
            models=facts.models(models),
            blocking=False,
        )


def _low_precision(facts: Facts, module: Module, call: ast.Call) -> Iterator[Finding]:
    given = [k.value for k in call.keywords if k.arg == KEEP] + call.args[3:4]
    for node in given:
        if literals(facts.value(node)) != [False]:
            models = models_given(facts, module, call, "mixed_precision")
            plans = [facts.plan(model) for model in models]
            goes = bool(plans) and all(
                plan is not None and not plan.leaves("mixed_precision") for plan in plans
            )
            more = "" if goes else ".  Take it out if that is what you want"
            yield finding_at(
                RULE,
                module,
                node,
                f"{FLOAT32_GRADIENTS}{more}",
                tier=Tier.NOTE if goes else Tier.MANUAL,
                safety=Safety.UNSAFE if goes else Safety.SAFE,
                models=facts.models(models),
            )


def _full_precision(facts: Facts) -> Iterator[Finding]:
    """FSDP1 evaluates in float32 if a variable of the environment says so."""
    for module in modules(facts):
        for node in module.parents:
            if isinstance(node, ast.Constant) and node.value == FULL_PRECISION:
                yield finding_at(
                    RULE,
                    module,
                    node,
                    "FSDP2 does not know the variable, and evaluates in the dtype that it trains "
                    "in.  To evaluate in float32, fill a plain float32 copy of the model from "
                    "`full_tensor()`",
                    tier=Tier.NOTE,
                    safety=Safety.UNSAFE,
                )


def _in_backward(facts: Facts, module: Module, call: ast.Call) -> Iterator[Finding]:
    given = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "params")]
    found = {model for node in given for model in models_trained(facts, node)}
    if found:
        yield finding_at(
            RULE,
            module,
            call,
            "FSDP2 never runs these hooks: nothing would be updated, without a message.  After "
            "fully_shard, build an optimizer for each parameter and step it in "
            "`p.register_post_accumulate_grad_hook(...)`, which trains the same",
            tier=Tier.MANUAL,
            models=facts.models(found),
        )


RULE = Rule(
    code="FSDP508",
    name="unsupported",
    summary="copies of sharded models, DDP around FSDP, optimizers in the backward pass",
    why="A sharded model can't be copied or replicated, and FSDP2 has no hooks for some things.",
    fix_safety="There is no fix.",
    left=(
        'Always.  Copy the model before it is sharded, take a mesh of ("replicate", "shard") '
        "for replicas, and step optimizers in register_post_accumulate_grad_hook."
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "https://docs.pytorch.org/tutorials/intermediate/optimizer_step_in_backward_tutorial.html",
    ),
    examples=(
        Example(
            before="""\
import copy

from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(net):
    model = FSDP(net)
    return model, copy.deepcopy(model)
""",
            after="""\
import copy

from torch.distributed.fsdp import fully_shard


def build(net):
    model = fully_shard(net)
    return model, copy.deepcopy(model)
""",
        ),
    ),
)
