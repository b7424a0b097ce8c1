"""Random numbers that are drawn for parameters, gradients and the like.

FSDP1 drew for this rank's flat shard, from this rank's generator.  For a DTensor every rank draws
its part of one stream for the whole, and the parts are cut otherwise: the numbers are others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.held_data import of_submodule
from fsdp_migrate.rule.queries.parameters import called, calls, is_summoned
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

METHODS = frozenset(
    {
        "bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_",
        "multinomial", "normal_", "random_", "uniform_",
    }
)  # fmt: skip
FUNCTIONS = frozenset(
    f"torch.{name}"
    for name in (
        "alpha_dropout", "bernoulli", "binomial", "dropout", "feature_dropout", "multinomial",
        "nn.functional.alpha_dropout", "nn.functional.dropout", "nn.functional.dropout1d",
        "nn.functional.dropout2d", "nn.functional.feature_alpha_dropout",
        "nn.functional.gumbel_softmax", "normal", "poisson", "rand_like", "randint_like",
        "randn_like", "rrelu",
    )
)  # fmt: skip
CONSTANT = frozenset(
    f"torch.nn.init.{name}" for name in ("constant_", "dirac_", "eye_", "ones_", "zeros_")
)
BY_SHAPE = frozenset(f"torch.{name}" for name in ("normal", "rand", "randint", "randn", "randperm"))
SHAPES = frozenset({"numel", "shape", "size"})
DRAWN = (
    "drawn for a DTensor these are other random numbers than those that FSDP1 drew for this rank's "
    "flat shard"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at every call that draws."""
    for module, call in calls(facts):
        names = called(facts, call)
        given: list[ast.expr] = []
        if isinstance(call.func, ast.Attribute) and call.func.attr in METHODS:
            given = [call.func.value]
        if names & FUNCTIONS or any(_initialises(name) for name in names):
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
        yield from _drawn(facts, module, call, given)
        if names & BY_SHAPE:
            yield from _by_shape(facts, module, call)


def _initialises(name: str) -> bool:
    return name.startswith("torch.nn.init.") and name not in CONSTANT


def _drawn(
    facts: Facts, module: Module, call: ast.Call, given: list[ast.expr]
) -> Iterator[Finding]:
    models = {
        m
        for node in given
        for m in facts.sharded.models(module, node) or of_submodule(facts, module, node)
    }
    if models and not is_summoned(facts, module, call):
        yield finding_at(
            RULE,
            module,
            call,
            DRAWN,
            tier=Tier.NOTE,
            safety=Safety.UNSAFE,
            models=facts.models(models),
        )


def _by_shape(facts: Facts, module: Module, call: ast.Call) -> Iterator[Finding]:
    """`torch.randn(p.shape)`: a plain tensor of the shape of the whole."""
    models = {
        m
        for node in nodes_in(call)
        if isinstance(node, ast.Attribute) and node.attr in SHAPES
        for m in facts.sharded.models(module, node.value)
    }
    if models:
        yield finding_at(
            RULE,
            module,
            call,
            "this is a plain tensor with the shape of the whole now, which goes with no DTensor: "
            f"draw with `torch.randn_like(p)` or the like; {DRAWN}",
            tier=Tier.MANUAL,
            models=facts.models(models),
        )


RULE = Rule(
    code="FSDP531",
    name="random-draws",
    summary="random numbers that are drawn for parameters and gradients",
    why=(
        "A DTensor's random numbers are parts of those of the whole, and FSDP1's were a flat "
        "shard's own: no rewriting draws the same numbers for the same weights."
    ),
    fix_safety="Nothing is changed; the training is another one, which the finding says.",
    left=(
        "A plain tensor that is drawn in the shape of the whole: draw with torch.randn_like(p) "
        "or the like, which gives each rank its part."
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.tensor.html",
        "torch/distributed/tensor/_random.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def add_noise(model, sigma):
    model = FSDP(model, use_orig_params=True)
    for p in model.parameters():
        p.grad.add_(torch.randn_like(p.grad), alpha=sigma)
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def add_noise(model, sigma):
    fully_shard(model)
    for p in model.parameters():
        p.grad.add_(torch.randn_like(p.grad), alpha=sigma)
""",
        ),
    ),
)
