"""An optimizer that is built after a forward without a backward.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

A forward leaves the root's parameters gathered until the backward.  FSDP2 shows them as plain
tensors that long: an optimizer that is built then holds those, and never updates the shards.
`reshard()` puts the sharded parameters back first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.findings.finding import Finding, Import, InsertStatements, Tier
from fsdp_migrate.lowering.before_wrap import common_block, parameter_calls
from fsdp_migrate.rule.queries.parameters import calls
from fsdp_migrate.rule.rule import Example, Facts, Rule, finding_at, no_uses
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module

ENDS = frozenset({"backward", "reshard"})
ALL_UNITS = """\
for {unit} in {model}.modules():
    if isinstance({unit}, FSDPModule):
        {unit}.reshard()"""


def survey(facts: Facts) -> Iterable[Finding]:
    """Look for optimizers below a call of their model."""
    if not facts.solver.wraps:
        return
    forwards = [
        (module, call, facts.solver.wrapped(facts.value(call.func)))
        for module, call in calls(facts)
        if facts.value(call.func)
        and all(isinstance(atom, Wrapped) for atom in facts.value(call.func))
    ]
    if not forwards:
        return
    for module, optimizer, _ in facts.order.optimizers:
        held = {a for a in facts.order.holds(optimizer) or () if isinstance(a, Wrapped)}
        paths = {path for path, _ in parameter_calls(optimizer)}
        for home, forward, wraps in forwards:
            if home is module and wraps & held and len(paths) == 1 and module.rewrite:
                model = paths.pop()
                yield from _settle(facts, module, optimizer, forward, model, wraps & held)
                break


def _settle(
    facts: Facts,
    module: Module,
    optimizer: ast.Call,
    forward: ast.Call,
    model: str,
    wraps: set[Wrapped],
) -> Iterator[Finding]:
    built, run = module.statement(optimizer), module.statement(forward)
    if module.scope(optimizer) is not module.scope(forward) or run is built:
        return
    siblings = common_block(module, run, built)
    if siblings is None or _ends(module, *siblings):
        return
    plans = [facts.plan(wrapped) for wrapped in wraps]
    root_only = all(plan is not None and plan.keeps_unsharded is False for plan in plans)
    unit = "module" if "module" not in module.bound_names else "fsdp_module"
    text = f"{model}.reshard()" if root_only else ALL_UNITS.format(unit=unit, model=model)
    yield finding_at(
        RULE,
        module,
        built,
        f"built after a forward (line {run.lineno}), the optimizer would hold gathered parameters "
        "that FSDP2 puts away; they are resharded first",
        tier=Tier.NATIVE,
        edits=[InsertStatements(module.span(built), text)],
        imports=[] if root_only else [Import(ROOT, "FSDPModule")],
        units=facts.units(wraps),
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
