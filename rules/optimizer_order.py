"""An optimizer that is built before the wrap goes below it.

https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html

`fully_shard` puts new parameters in the place of the old ones.  An optimizer that holds the old
ones finds no gradients in them, updates nothing, and says nothing.  The statements that build
the optimizer, its scheduler and its groups go below the wrap, where nothing notices; where
something would, the optimizer is handed the new parameters instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fsdp_migrate.findings.finding import Finding, Fix, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.before_wrap import TooEarly, taken_before_wraps
from fsdp_migrate.rule.queries.parameters import use_orig_params
from fsdp_migrate.rule.queries.stale_reads import stale_reads
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses

NEVER_TRAINED = {
    None: (
        "; with use_orig_params=False FSDP1 never updated anything this way, "
        "the migrated program trains"
    ),
    False: (
        "; FSDP1 without use_orig_params never updated anything this way, "
        "the migrated program trains"
    ),
}
ASKED = "parameters are asked for here"
MADE = "what is made of the model here may be its parameters"


def survey(facts: Facts) -> Iterable[Finding]:
    """What takes hold of parameters above every wrap."""
    known = list(taken_before_wraps(facts))
    yield from (_finding(facts, early) for early in known)
    for stale in stale_reads(facts, known):
        yield finding_at(
            RULE,
            stale.module,
            stale.asked,
            f"{ASKED if stale.is_certain else MADE}, line {stale.below.lineno} wraps the model, "
            f"and line {stale.read.lineno} still reads them: fully_shard replaces them, and what "
            "they are given to would never train: ask for them below the wrap",
            tier=Tier.MANUAL,
            models=facts.models([stale.wrapped]),
        )


def _finding(facts: Facts, early: TooEarly) -> Finding:
    trained = use_orig_params(facts, early.wrapped)
    tier = Tier.NATIVE if early.moves or early.switch is not None else Tier.MANUAL
    result = finding_at(
        RULE,
        early.module,
        early.statement,
        f"{early.what}: {_message(early)}{'' if trained else NEVER_TRAINED[trained]}",
        tier=tier,
        edits=early.moves,
        safety=Safety.UNSAFE if tier is Tier.NATIVE and not trained else Safety.SAFE,
        models=facts.models([early.wrapped]),
    )
    if early.switch is not None:
        home, edits = early.switch
        result = replace(result, fix=Fix({home.path: edits}, safety=result.safety))
    return result


def _message(early: TooEarly) -> str:
    where = f"built before the model is wrapped in line {early.wrap_line}"
    if early.moves:
        return f"{where}, it goes below"
    if early.switch is not None:
        return f"{where}, it is handed the sharded parameters"
    keeps = "it keeps parameters that fully_shard replaces and would never train"
    if not early.is_certain:
        keeps = "it may keep parameters that fully_shard replaces, and would never see the new ones"
    return f"{where}, {keeps}: build it after the wrap ({early.reason})"


RULE = Rule(
    code="FSDP501",
    name="optimizer-order",
    summary="an optimizer built before the wrap goes below it",
    why=(
        "`fully_shard` replaces the parameters.  An optimizer that was built before holds the old "
        "ones: it never updates anything, without a message."
    ),
    fix_safety=(
        "Safe with `use_orig_params=True`, where FSDP1 trained: statements move only past others "
        "that they have nothing to do with.  Unsafe without it: FSDP1 trained nothing then, and "
        "the migrated program does."
    ),
    left=(
        "Where what stands between the optimizer and the wrap has to do with both: build the "
        "optimizer below the wrap."
    ),
    needs=(
        "FSDP1 kept the parameters that it was given (`use_orig_params=True`)",
        "what stands between has nothing to do with what is moved",
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html",
        "torch/distributed/fsdp/_fully_shard/_fsdp_param.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model = FSDP(model, use_orig_params=True)
    return model, optimizer
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def build(model):
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return model, optimizer
""",
        ),
    ),
)
