"""`model.apply(fn)`: FSDP1 gathered the parameters for it, FSDP2 hands `fn` the shards.

Constants come out the same, random numbers and anything that looks at a whole weight do not.
The call goes into the shim's `summon_full_params`, which gathers them as FSDP1 did.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Kept, Name, code
from fsdp_migrate.findings.edits import ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.method_calls import values
from fsdp_migrate.rule.queries.parameter_use import may_use_parameters
from fsdp_migrate.rule.queries.parameters import is_summoned
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding

SUMMON = Name(RUNTIME, "summon_full_params")


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Gather the parameters for one call, if its function can have to do with them."""
    passed = values(use)
    if use.call is None or use.receiver is None or not use.wraps or len(passed) != 1:
        return
    (function,) = passed
    if not may_use_parameters(facts, function) or is_summoned(facts, use.module, use.node):
        return
    statement = use.module.parents[use.call]
    span = use.module.span
    model = Kept(span(use.receiver))
    apply = code("{model}.apply({function})", model=model, function=Kept(span(function)))
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = Kept(span(statement.targets[0]))
        apply = code("{target} = {applied}", target=target, applied=apply)
    elif not isinstance(statement, ast.Expr) or isinstance(function, ast.Starred):
        yield finding(
            RULE,
            use,
            "FSDP1 gathered the parameters for apply, FSDP2 hands it the shards: make it a "
            "statement inside summon_full_params of fsdp_migrate.runtime, or do it before "
            "fully_shard",
            tier=Tier.MANUAL,
            models=facts.models(use.wraps),
        )
        return
    new = code("with {summon}({model}):\n    {apply}", summon=SUMMON, model=model, apply=apply)
    yield finding(
        RULE,
        use,
        "apply is given whole parameters by the shim, as FSDP1 did",
        tier=Tier.SHIM,
        edits=[ReplaceStatement(span(statement), new)],
        models=facts.models(use.wraps),
    )


RULE = Rule(
    code="FSDP408",
    name="apply-method",
    summary="`model.apply(init)` goes into the shim's `summon_full_params`",
    why="FSDP1's `apply` gathered each unit's parameters; FSDP2's is the plain module's.",
    left=(
        "With --runtime never, and where apply is part of an expression: initialise the weights"
        " before fully_shard, which is plain PyTorch."
    ),
    by_hand=(
        "apply the function before the model is sharded; where that is too large, load what it "
        "would set with set_model_state_dict"
    ),
    fix_safety="Safe: the function sees whole parameters and its edits are kept, as before.",
    needs=("the receiver is an FSDP1 model",),
    check=check,
    methods=("apply",),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.apply",
            "`summon_full_params` of the shim around it",
            (Tier.SHIM,),
        ),
    ),
    references=(
        "https://docs.pytorch.org/docs/stable/fsdp.html",
        "torch/distributed/fsdp/fully_sharded_data_parallel.py",
    ),
    examples=(
        Example(
            before="""\
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def init(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)


def build(model):
    model = FSDP(model)
    model.apply(init)
    return model
""",
            after="""\
from fsdp_migrate.runtime import summon_full_params
from torch import nn
from torch.distributed.fsdp import fully_shard


def init(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)


def build(model):
    fully_shard(model)
    with summon_full_params(model):
        model.apply(init)
    return model
""",
        ),
    ),
)
