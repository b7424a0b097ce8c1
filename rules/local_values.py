"""Norms and sums over gradients and parameters, computed by hand.

On FSDP1's flat shards every such number was this rank's own, until it was summed over the ranks.
DTensors know that they are parts: arithmetic on them gives the number of the whole, and there is
nothing to sum.  Only `.item()` straight on a norm still gives this rank's part.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import Kept, code
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.collectives import collective
from fsdp_migrate.rule.queries.parameters import is_certain, is_summoned, modules
from fsdp_migrate.rule.queries.sharded_values import (
    computed_from,
    goes_into_plain,
    method_or_function,
    parameter_of,
    reads_any,
    reduced,
    sharded_models,
)
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import own_nodes

ADDING = frozenset({"norm", "sum", "dot", "square", "pow", "vector_norm", "mean"})
REDUCING = ADDING | {"all", "amax", "amin", "any", "max", "median", "min", "prod", "std", "var"}
# The parts of the ranks add up after these, and an empty shard has a part of zero.
ADDING_UP = (ADDING - {"mean"}) | {
    "abs", "detach", "double", "flatten", "float", "reshape", "view"
}  # fmt: skip
TO_PYTHON = frozenset({"item", "tolist", "float", "int", "bool", "tensor", "as_tensor"})
OVER_RANKS = frozenset({"all_reduce", "reduce", "all_gather", "all_gather_into_tensor"})


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at reductions of sharded tensors, function by function."""
    for module in modules(facts):
        scopes: dict[ast.AST, list[ast.Call]] = {}
        for node in module.parents:
            if isinstance(node, ast.Call) and method_or_function(node) in REDUCING:
                if reduced(facts, node) is not None and not is_summoned(facts, module, node):
                    scopes.setdefault(module.scope(node), []).append(node)
        for scope, seeds in scopes.items():
            yield from _of_scope(facts, module, scope, seeds)


def _of_scope(
    facts: Facts, module: Module, scope: ast.AST, seeds: list[ast.Call]
) -> Iterator[Finding]:
    """What is said of the values that `seeds` compute, which one function or module uses."""
    every = set(seeds)
    tensors = computed_from(scope, every, stop=TO_PYTHON)
    numbers = computed_from(scope, every, stop=frozenset())
    summed = False
    for call in own_nodes(scope):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        if collective(facts, call) not in OVER_RANKS:
            continue
        summed = summed or reads_any(call, every, numbers | tensors, frozenset())
        if reads_any(call, every, tensors, TO_PYTHON):
            yield _over_ranks(facts, module, call, seeds)
    if not summed:
        yield _alone(facts, module, scope, seeds, tensors)


def _alone(
    facts: Facts, module: Module, scope: ast.AST, seeds: list[ast.Call], tensors: set[str]
) -> Finding:
    """Numbers that no rank tells the others."""
    into_plain = goes_into_plain(facts, scope, set(seeds), tensors, TO_PYTHON)
    return finding_at(
        RULE,
        module,
        seeds[0],
        _message(module, seeds[0]),
        tier=Tier.NATIVE if into_plain else Tier.NOTE,
        safety=Safety.UNSAFE if into_plain else Safety.SAFE,
        edits=[
            ReplaceExpression(span, code("{value}.full_tensor()", value=Kept(span)))
            for span in map(module.span, _outermost(seeds))
        ],
        models=facts.models(
            w for base in _bases(facts, seeds) for w in sharded_models(facts, base)
        ),
    )


def _outermost(seeds: list[ast.Call]) -> list[ast.Call]:
    """Those of `seeds` that are in no other: `sum` of `p.grad.pow(2).sum()`."""
    inner = {id(n) for seed in seeds for n in ast.walk(seed) if n is not seed}
    return [seed for seed in seeds if id(seed) not in inner]


def _bases(facts: Facts, seeds: list[ast.Call]) -> list[ast.expr]:
    """The parameters and gradients that are reduced."""
    return [base for seed in seeds if (base := reduced(facts, seed)) is not None]


def _message(module: Module, seed: ast.Call) -> str:
    asked = module.parents[module.parents[seed]]
    if isinstance(asked, ast.Call) and method_or_function(asked) in {"item", "tolist"}:
        return (
            "`.item()` straight on it gives this rank's part, as it did under FSDP1; "
            "`.full_tensor().item()` gives the whole"
        )
    return "this was one rank's number under FSDP1; DTensors give that of the whole"


def _over_ranks(facts: Facts, module: Module, call: ast.Call, seeds: list[ast.Call]) -> Finding:
    bases = _bases(facts, seeds)
    models = {w for base in bases for w in sharded_models(facts, base)}
    plans = [facts.plan(w) for w in models]
    adds_up = all(
        method_or_function(node) in ADDING_UP
        for seed in seeds
        for node in ast.walk(seed)
        if isinstance(node, ast.Call)
    )
    certain = all(is_certain(facts, parameter_of(base)) for base in bases)
    ignored = any(plan is None or plan.has_ignored for plan in plans)
    if adds_up and certain and not ignored and collective(facts, call) == "all_reduce":
        return finding_at(
            RULE,
            module,
            call,
            "a sum over the ranks wants this rank's shards: they are asked for by to_local()",
            tier=Tier.NATIVE,
            edits=[
                ReplaceExpression(span, code("{value}.to_local()", value=Kept(span)))
                for span in map(module.span, bases)
            ],
            models=facts.models(models),
        )
    return finding_at(
        RULE,
        module,
        call,
        "what is communicated here is a DTensor, which knows the other ranks' parts: drop the "
        "call and use `.full_tensor()`, or compute from `p.grad.to_local()`",
        tier=Tier.MANUAL,
        models=facts.models(models),
    )


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
    needs=("what is summed over the ranks was made of shards alone",),
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
