"""An optimizer that is built after a forward without a backward.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

A forward leaves the root's parameters gathered until the backward.  FSDP2 shows them as plain
tensors that long: an optimizer that is built then holds those, and never updates the shards.
`reshard()` puts the sharded parameters back first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import Code, Kept, Name, code, variable
from fsdp_migrate.findings.edits import InsertStatements
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.optimizers import Optimizer, forwards, optimizers
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.blocks import common_block
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of

ENDS = frozenset({"backward", "reshard"})
MODULE = Name(ROOT, "FSDPModule")
UNIT = variable("module", "fsdp_module")


def survey(facts: Facts) -> Iterable[Finding]:
    """Look for optimizers below a call of their model."""
    run = list(forwards(facts))
    for optimizer in optimizers(facts) if run else ():
        for module, forward, models in run:
            shared = models & optimizer.sharded
            if module is optimizer.module and shared and len(optimizer.names) == 1:
                plans = [facts.plan(model) for model in shared]
                root_only = all(p is not None and p.keeps_unsharded is False for p in plans)
                yield from _built_early(optimizer, forward, root_only, facts.models(shared))
                break


def _built_early(
    optimizer: Optimizer, forward: ast.Call, root_only: bool, units: frozenset[str]
) -> Iterator[Finding]:
    """What is said of an optimizer that is built after a forward pass of its model."""
    module = optimizer.module
    built, run = module.statement(optimizer.call), module.statement(forward)
    if module.scope(optimizer.call) is not module.scope(forward) or run is built:
        return
    siblings = common_block(module, run, built)
    if siblings is None or _ends(module, *siblings):
        return
    (name,) = optimizer.names
    model = next(n for n in ast.walk(optimizer.call) if path_of(n) == name)
    yield finding_at(
        RULE,
        module,
        built,
        f"built after a forward (line {run.lineno}), the optimizer would hold gathered parameters "
        "that FSDP2 puts away; they are resharded first",
        tier=Tier.NATIVE,
        edits=[InsertStatements(module.span(built), _reshard(Kept(module.span(model)), root_only))],
        models=units,
    )


def _reshard(model: Kept, root_only: bool) -> Code:
    """What puts the shards back, of the root or of all units."""
    if root_only:
        return code("{model}.reshard()", model=model)
    return code(
        """\
for {unit} in {model}.modules():
    if isinstance({unit}, {fsdp_module}):
        {unit}.reshard()""",
        unit=UNIT,
        model=model,
        fsdp_module=MODULE,
    )


def _ends(module: Module, first: ast.stmt, last: ast.stmt) -> bool:
    """Whether a backward, from `first` to `last`, puts the shards back by itself."""
    block = module.block(first)
    return any(
        isinstance(node, ast.Attribute) and node.attr in ENDS
        for statement in block[block.index(first) : block.index(last)]
        for node in ast.walk(statement)
    )


RULE = Rule(
    code="FSDP510",
    name="optimizer-after-forward",
    summary="an optimizer built after a forward gets the shards back first",
    why=(
        "FSDP2 keeps the root's parameters gathered from a forward to the next backward, as plain "
        "tensors in the place of the sharded ones."
    ),
    fix_safety="Safe: the next forward gathers what is resharded, as it would have.",
    needs=("the model that is resharded is migrated",),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(model, batch):
    model = FSDP(model, use_orig_params=True)
    with torch.no_grad():
        print(model(batch).mean())
    return model, torch.optim.AdamW(model.parameters())
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def build(model, batch):
    fully_shard(model)
    with torch.no_grad():
        print(model(batch).mean())
    model.reshard()
    return model, torch.optim.AdamW(model.parameters())
""",
        ),
    ),
)
