"""Gradient accumulation without synchronisation: what changes in the sums, and what is left over.

Inside `no_sync` FSDP1 adds gradients up in the dtype of the parameters, FSDP2 in that of the
reduction.  And `zero_grad` does not reach sums that are not reduced yet.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.accumulated_sums import changed_sums
from fsdp_migrate.rule.queries.microbatches import dropped_inside_window, loop_around
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at every `no_sync` of an FSDP model."""
    seen: set[ast.AST] = set()
    for use in facts.uses:
        if use.name == "no_sync" and use.wraps:
            yield from _sums(use, facts)
            yield from _left_over(use, facts, seen)


def _sums(use: Use, facts: Facts) -> Iterator[Finding]:
    """Say how the sums of microbatches change, for the dtypes that the wrap is given."""
    for message in sorted(set(changed_sums(facts, use.wraps))):
        yield finding_at(
            RULE,
            use.module,
            use.node,
            message,
            tier=Tier.NOTE,
            safety=Safety.UNSAFE,
            models=facts.models(use.wraps),
        )


def _left_over(use: Use, facts: Facts, seen: set[ast.AST]) -> Iterator[Finding]:
    """`zero_grad` in the loop over microbatches, apart from a step."""
    loop = loop_around(use.module, use.node)
    if loop is None or loop in seen:
        return
    seen.add(loop)
    for node in dropped_inside_window(facts, use, loop):
        yield finding_at(
            RULE,
            use.module,
            node,
            "inside an accumulation window FSDP1 dropped what was summed so far; FSDP2 keeps it "
            "and adds it to the next step.  Skip the microbatch before its backward, or let the "
            "window end here (set_requires_gradient_sync(True) before the backward)",
            tier=Tier.NOTE,
            safety=Safety.UNSAFE,
            models=facts.models(use.wraps),
        )


RULE = Rule(
    code="FSDP507",
    name="accumulation",
    summary="sums of microbatches: their dtype, and zero_grad inside a window",
    why=(
        "FSDP2 keeps gradients that are not reduced yet in the dtype of the reduction, and in "
        "tensors of its own."
    ),
    fix_safety="There is no fix: the note says how the training changes.",
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_fully_shard/_fsdp_param.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import MixedPrecision


def train(net, batches, optimizer):
    model = FSDP(net, mixed_precision=MixedPrecision(torch.bfloat16, torch.float32))
    for batch in batches:
        with model.no_sync():
            for micro in batch[1:]:
                model(micro).sum().backward()
        model(batch[0]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
""",
            after="""\
import torch
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard


def train(net, batches, optimizer):
    model = fully_shard(
        net,
        mp_policy=MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32
        ),
    )
    for batch in batches:
        model.set_requires_gradient_sync(False)
        try:
            for micro in batch[1:]:
                model(micro).sum().backward()
        finally:
            model.set_requires_gradient_sync(True)
        model(batch[0]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
""",
        ),
    ),
)
