"""Norms and sums over gradients and parameters, computed by hand.

On FSDP1's flat shards every such number was this rank's own, until it was summed over the ranks.
DTensors know that they are parts: arithmetic on them gives the number of the whole, and there is
nothing to sum.  Only `.item()` straight on a norm still gives this rank's part.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

from fsdp_migrate.findings.finding import Finding, Fix, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.collectives import collective
from fsdp_migrate.rule.queries.parameters import is_summoned, modules
from fsdp_migrate.rule.queries.sharded_values import (
    computed_from,
    method_or_function,
    reads_any,
    reduced,
    sharded_models,
)
from fsdp_migrate.rule.queries.tensor_ends import KINDS, End, ends, is_made_local
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import own_nodes

REDUCING = frozenset(
    {
        "all", "amax", "amin", "any", "argmax", "argmin", "dot", "kthvalue", "max", "mean",
        "median", "min", "norm", "pow", "prod", "quantile", "square", "std", "sum", "topk", "var",
        "vector_norm",
    }
)  # fmt: skip
OVER_RANKS = frozenset({"all_reduce", "reduce", "all_gather", "all_gather_into_tensor"})


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at what is communicated, and at reductions that no rank tells the others."""
    for end in ends(facts):
        if end.kind is KINDS.COLLECTIVE:
            yield _over_ranks(facts, end)
    for module in modules(facts):
        scopes: dict[ast.AST, list[ast.Call]] = {}
        for node in module.parents:
            if isinstance(node, ast.Call) and method_or_function(node) in REDUCING:
                if _is_reduction(facts, module, node):
                    scopes.setdefault(module.scope(node), []).append(node)
        for scope, seeds in scopes.items():
            if not _is_summed(facts, scope, seeds):
                yield _alone(facts, module, seeds)


def _is_reduction(facts: Facts, module: Module, node: ast.Call) -> bool:
    """Whether `node` makes a number of sharded tensors, and they stay such."""
    return (
        reduced(facts, node) is not None
        and not is_summoned(facts, module, node)
        and not is_made_local(facts, node)
    )


def _is_summed(facts: Facts, scope: ast.AST, seeds: list[ast.Call]) -> bool:
    """Whether the ranks tell each other the numbers, once they are Python's."""
    every = set(seeds)
    numbers = computed_from(scope, every)
    return any(
        isinstance(call, ast.Call)
        and bool(call.args)
        and collective(facts, call) in OVER_RANKS
        and reads_any(call, every, numbers)
        for call in own_nodes(scope)
    )


def _alone(facts: Facts, module: Module, seeds: list[ast.Call]) -> Finding:
    """Numbers that no rank tells the others."""
    bases = [base for seed in seeds if (base := reduced(facts, seed)) is not None]
    return finding_at(
        RULE,
        module,
        seeds[0],
        _message(module, seeds[0]),
        tier=Tier.NOTE,
        models=facts.models(w for base in bases for w in sharded_models(facts, base)),
    )


def _message(module: Module, seed: ast.Call) -> str:
    asked = module.parents[module.parents[seed]]
    if isinstance(asked, ast.Call) and method_or_function(asked) in {"item", "tolist"}:
        return (
            "`.item()` straight on it gives this rank's part, as it did under FSDP1; "
            "`.full_tensor().item()` gives the whole"
        )
    return "this was one rank's number under FSDP1; DTensors give that of the whole"


def _over_ranks(facts: Facts, end: End) -> Finding:
    """Numbers that the ranks put together by themselves."""
    units = facts.models(end.models)
    if end.fix is None:
        return finding_at(
            RULE,
            end.module,
            end.node,
            "what is communicated here is a DTensor, which knows the other ranks' parts: drop the "
            "call and use `.full_tensor()`, or compute from `p.grad.to_local()`",
            tier=Tier.MANUAL,
            models=units,
        )
    safety, more = Safety.SAFE, ""
    if not end.adds_up:
        safety = Safety.UNSAFE
        more = "; FSDP1 cut them elsewhere, and this number depends on where"
    elif end.has_strangers:
        safety = Safety.UNSAFE
        more = "; tensors of unknown origin can be among them, of which a DTensor is cut as well"
    found = finding_at(
        RULE,
        end.module,
        end.node,
        f"the ranks put numbers of their own shards together: to_local() asks for them{more}",
        tier=Tier.NATIVE,
        safety=safety,
        models=units,
    )
    return replace(found, fix=Fix(end.fix.edits, safety))


RULE = Rule(
    code="FSDP504",
    name="local-values",
    summary="norms and sums over gradients, computed by hand",
    why=(
        "FSDP1's gradients were this rank's shards and nothing said so.  DTensors say so: "
        "computing with them gives the whole, and communicating them once more is an error."
    ),
    fix_safety=(
        "Safe: the same shards are summed over the same ranks; the parts are cut otherwise, which "
        "changes the order of the sum (1e-7 relative)."
    ),
    left=(
        "A DTensor that is communicated, and numbers whose meaning depends on how parameters "
        "are cut: drop the collective and use full_tensor(), or compute from p.grad.to_local()."
    ),
    needs=(
        "what is summed over the ranks was made of shards alone",
        "the numbers of the ranks add up to that of the whole",
        "norms are squared before they are summed",
        "the ranks put the numbers together as each rank did",
    ),
    check=no_uses,
    survey=survey,
    references=("https://docs.pytorch.org/docs/stable/distributed.tensor.html",),
    examples=(
        Example(
            before="""\
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def gradient_norm(model):
    model = FSDP(model, use_orig_params=True)
    total = sum(p.grad.norm() ** 2 for p in model.parameters())
    dist.all_reduce(total)
    return total.sqrt()
""",
            after="""\
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard


def gradient_norm(model):
    fully_shard(model)
    total = sum(p.grad.to_local().norm() ** 2 for p in model.parameters())
    dist.all_reduce(total)
    return total.sqrt()
""",
        ),
    ),
)
