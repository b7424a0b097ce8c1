"""One list of plain and sharded parameters, given to an optimizer, a clip or a scaler.

On a GPU PyTorch's optimizers take the parameters of a group all at once (`foreach`), and such an
operation refuses a list of plain tensors and DTensors.  One by one they are updated as before.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.arguments import bind
from fsdp_migrate.findings.code import Literal
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.mixed_lists import (
    CLIPS,
    FOREACH,
    SCALERS,
    has_both,
    is_mixed,
    made_with,
    models_in,
    parameters_given,
)
from fsdp_migrate.rule.queries.optimizers import optimizers
from fsdp_migrate.rule.queries.parameters import called, calls
from fsdp_migrate.rule.queries.values import literals, may_come_from
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module

BESIDE = "plain parameters stand beside sharded ones here"


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at optimizers, clips and scalers."""
    known = {optimizer.call: optimizer.models for optimizer in optimizers(facts)}
    scaled: list[tuple[str, Finding]] = []
    for module, call in calls(facts):
        if called(facts, call) & FOREACH:
            given, models = parameters_given(call), known.get(call, frozenset())
            if given and is_mixed(facts, module, given, models):
                units = facts.models(models | models_in(facts, module, given))
                yield from _optimizer(facts, module, call, units)
        if called(facts, call) & CLIPS and call.args:
            yield from _clip(facts, module, call)
        elif isinstance(call.func, ast.Attribute) and call.func.attr in {"step", "unscale_"}:
            found = _scaler(facts, module, call, call.func.value)
            scaled += [(call.func.attr, item) for item in found]
    first = any(method == "unscale_" for method, _ in scaled)  # `step` fails only without it
    yield from (item for method, item in scaled if method == "unscale_" or not first)


def _optimizer(
    facts: Facts, module: Module, call: ast.Call, units: frozenset[str]
) -> Iterator[Finding]:
    fused = next((k for k in call.keywords if k.arg == "fused"), None)
    foreach = next((k for k in call.keywords if k.arg == "foreach"), None)
    is_fused = fused is not None and literals(facts.value(fused.value)) not in ([False], [None])
    if foreach is not None and literals(facts.value(foreach.value)) == [False] and not is_fused:
        return
    arguments = bind(module, call)
    if arguments.is_open or arguments.has_star:
        yield finding_at(
            RULE,
            module,
            call,
            f"{BESIDE}, which no foreach or fused step takes in one list: see that `foreach=False` "
            "is among the arguments, or make a group (or an optimizer) for each kind",
            tier=Tier.MANUAL,
            models=units,
        )
        return
    safety, more = Safety.SAFE, ""
    if is_fused:
        arguments.drop("fused")
        safety, more = Safety.UNSAFE, "; fused goes, and the other kernel may round otherwise"
    arguments.put("foreach", Literal(False))
    yield finding_at(
        RULE,
        module,
        call,
        f"{BESIDE}, which no foreach step takes in one list: they are updated one by one{more}",
        tier=Tier.NATIVE,
        safety=safety,
        edits=[arguments.edit()],
        models=units,
    )


def _clip(facts: Facts, module: Module, call: ast.Call) -> Iterator[Finding]:
    """A clip of PyTorch's over both; that of a single model has a rule of its own."""
    given = call.args[0]
    if not is_mixed(facts, module, given) or _is_one_model(facts, given):
        return
    yield finding_at(
        RULE,
        module,
        call,
        f"{BESIDE}, and this function refuses such a list: take `get_total_norm` of each kind, "
        "`.full_tensor()` of the sharded one's, the norm of the two, and `clip_grads_with_norm_` "
        "for each kind",
        tier=Tier.MANUAL,
        models=facts.models(models_in(facts, module, given)),
    )


def _is_one_model(facts: Facts, given: ast.expr) -> bool:
    """Whether it is `model.parameters()` of a sharded model."""
    return (
        isinstance(given, ast.Call)
        and isinstance(given.func, ast.Attribute)
        and given.func.attr == "parameters"
        and not has_both(facts, given.func.value)
    )


def _scaler(facts: Facts, module: Module, call: ast.Call, scaler: ast.expr) -> Iterator[Finding]:
    """`scaler.unscale_(optimizer)` and `scaler.step(optimizer)`."""
    if not call.args or not may_come_from(facts.value(scaler), SCALERS):
        return
    for home, made in made_with(facts, call.args[0]):
        given = parameters_given(made)
        if given is not None and is_mixed(facts, home, given, together=True):
            yield finding_at(
                RULE,
                module,
                call,
                "the optimizer has plain parameters beside sharded ones, whose gradients "
                "GradScaler can't unscale in one list: make an optimizer for each kind, and call "
                "the scaler for both",
                tier=Tier.MANUAL,
                models=facts.models(models_in(facts, home, given)),
            )
            return


RULE = Rule(
    code="FSDP533",
    name="mixed-lists",
    summary="plain and sharded parameters in one list become `foreach=False`",
    why=(
        "Operations on lists of tensors take plain tensors or DTensors, not both.  FSDP1's shards "
        "were plain, like the parameters that FSDP was told to ignore."
    ),
    fix_safety=(
        "Safe: the same update, one parameter after the other.  Unsafe where `fused` goes: another "
        "kernel may round otherwise."
    ),
    left=(
        "Optimizers that can't do one parameter after the other, and clipping over both kinds: "
        "make a parameter group or an optimizer for each kind; for clipping, get_total_norm of "
        "each, and clip_grads_with_norm_ with the norm of the two."
    ),
    needs=(
        "the optimizer isn't fused",
        "all arguments of the optimizer are known",
        "the optimizer is PyTorch's, and has a step for one parameter after the other",
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/optim.html",
        "https://docs.pytorch.org/docs/stable/distributed.tensor.html",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(net):
    model = FSDP(net, use_orig_params=True, ignored_modules=[net.experts])
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def build(net):
    ignored_params = set(net.experts.parameters())
    model = fully_shard(net, ignored_params=ignored_params)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1, foreach=False)
""",
        ),
    ),
)
