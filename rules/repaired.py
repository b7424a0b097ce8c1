"""What FSDP1 got wrong and FSDP2 gets right: `torch.nn.utils` clipping, and the plain GradScaler.

https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html

The code stays; the training changes, because every rank now sees the same norm and the same
overflows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import Kept, Name, call, code, variable
from fsdp_migrate.findings.edits import (
    Define,
    Edit,
    InsertStatements,
    ReplaceExpression,
    ReplaceStatement,
)
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts
from fsdp_migrate.rule.queries.alternatives import has_sharded_scaler, is_for_others
from fsdp_migrate.rule.queries.clip_forms import written_for_both
from fsdp_migrate.rule.queries.clip_written import plain_norm
from fsdp_migrate.rule.queries.method_calls import elements
from fsdp_migrate.rule.queries.mixed_lists import SCALERS
from fsdp_migrate.rule.queries.optimized import models_optimized_by
from fsdp_migrate.rule.queries.parameters import (
    called,
    calls,
    dtypes,
    is_certain,
    models_of_list,
)
from fsdp_migrate.rule.queries.values import may_come_from
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module

CLIP = frozenset({"torch.nn.utils.clip_grad_norm_", "torch.nn.utils.clip_grad.clip_grad_norm_"})
SHIM = Name(RUNTIME, "clip_grad_norm_")
DTENSOR = Name("torch.distributed.tensor", "DTensor")
NORM = variable("norm", "total_norm")
PERHAPS = "the norm that comes back is a DTensor where the model is sharded, and plain elsewhere"
CHANGE = (
    "FSDP1 clipped by each rank's own norm, so that ranks scaled their gradients apart; FSDP2 "
    "clips by the norm of the whole"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at every call."""
    for module, found in calls(facts):
        if called(facts, found) & CLIP and found.args:
            model = _of_which(found.args[0])
            if model is not None and is_for_others(facts, module, found, model):
                continue
            if models_of_list(facts, module, found.args[0]):
                yield _clipped(facts, module, found)
        elif isinstance(found.func, ast.Attribute) and found.func.attr == "step" and found.args:
            yield from _scaled(facts, module, found, found.func.value)


# ---------------------------------------------------------------------- clipping
def _clipped(facts: Facts, module: Module, clip: ast.Call) -> Finding:
    models = models_of_list(facts, module, clip.args[0])
    model = _of_which(clip.args[0])
    ignored = any(p is None or p.has_ignored for p in map(facts.plan, models))
    is_read = not isinstance(module.parents[clip], ast.Expr)
    edits: list[Edit] = []
    tier, message = Tier.NOTE, CHANGE
    written = written_for_both(facts, module, models) if ignored and _is_plain(clip) else None
    if written is not None and written.definition is not None:
        tier = Tier.NATIVE
        message = f"a function of the file's own clips: {written.words}; {CHANGE}"
        edits = written.edits(module, clip.func, written.name)
    elif model is not None and ignored:
        tier = Tier.SHIM
        message = f"clipping goes through the shim: parameters may be plain tensors too; {CHANGE}"
        edits = [_by_shim(module, clip, model)]
    elif is_read and is_certain(facts, clip.args[0]):
        tier = Tier.NATIVE
        message = f"the norm that comes back is a DTensor and gets full_tensor(); {CHANGE}"
        full = code("{norm}.full_tensor()", norm=Kept(module.span(clip)))
        edits = [ReplaceExpression(module.span(clip), full)]
    elif is_read:
        tier, edits = Tier.NATIVE, _if_sharded(module, clip)
        message = f"{PERHAPS}; {CHANGE}"
    return finding_at(
        RULE,
        module,
        clip,
        message,
        tier=tier,
        safety=Safety.UNSAFE,
        edits=edits,
        models=facts.models(models),
    )


def _if_sharded(module: Module, clip: ast.Call) -> list[Edit]:
    """The norm as a plain tensor, whether the parameters are sharded or not."""
    statement, kept = module.parents[clip], Kept(module.span(clip))
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        (target,) = statement.targets
        if isinstance(target, ast.Name):
            whole = code(
                "if isinstance({norm}, {dtensor}):\n    {norm} = {norm}.full_tensor()",
                norm=Kept(module.span(target)),
                dtensor=DTENSOR,
            )
            return [InsertStatements(module.span(statement), whole, after=True)]
    if isinstance(statement, ast.Return):
        given_back = code(
            "{norm} = {clip}\n"
            "return {norm}.full_tensor() if isinstance({norm}, {dtensor}) else {norm}",
            norm=NORM,
            clip=kept,
            dtensor=DTENSOR,
        )
        return [ReplaceStatement(module.span(statement), given_back)]
    definition, function = plain_norm(module)
    span = module.span(clip)
    return [Define(span, definition), ReplaceExpression(span, call(function, kept))]


def _is_plain(clip: ast.Call) -> bool:
    """Whether it is given parameters, a norm and its order, and no more."""
    named = {keyword.arg for keyword in clip.keywords}
    return named <= {"max_norm", "norm_type"} and len(clip.args) < 4


def _by_shim(module: Module, clip: ast.Call, model: ast.expr) -> Edit:
    rest = elements(module, clip, clip.args[0])
    return ReplaceExpression(module.span(clip), call(SHIM, Kept(module.span(model)), *rest))


def _of_which(parameters: ast.expr) -> ast.expr | None:
    """The model in `model.parameters()`."""
    if isinstance(parameters, ast.Call) and isinstance(parameters.func, ast.Attribute):
        if parameters.func.attr == "parameters":
            return parameters.func.value
    return None


# ---------------------------------------------------------------------- scaling
def _scaled(facts: Facts, module: Module, step: ast.Call, scaler: ast.expr) -> Iterator[Finding]:
    """`scaler.step(optimizer)` of a plain scaler, for a model in float16."""
    if not may_come_from(facts.value(scaler), SCALERS) or has_sharded_scaler(facts, scaler):
        return
    half = {
        model
        for model in models_optimized_by(facts, step.args[0])
        if any(param in {"float16", "half"} for param, _ in dtypes(facts, model))
    }
    if half:
        yield finding_at(
            RULE,
            module,
            step,
            "the plain GradScaler saw each rank's own shards under FSDP1: ranks skipped steps, and "
            "scaled, apart from each other.  With FSDP2 they agree",
            tier=Tier.NOTE,
            safety=Safety.UNSAFE,
            models=facts.models(half),
        )


RULE = Rule(
    code="FSDP509",
    name="repaired",
    summary="clipping by `torch.nn.utils` and plain grad scalers, which FSDP2 makes right",
    why=(
        "`torch.nn.utils.clip_grad_norm_` and `torch.amp.GradScaler` know DTensors, and knew "
        "nothing of FSDP1's shards."
    ),
    by_hand=(
        "clip by the norm of both kinds: give the gradients that are DTensors and the others to "
        "`torch.nn.utils.get_total_norm` apart, take `full_tensor()` of the first norm, and scale "
        "each kind with `clip_grads_with_norm_`"
    ),
    fix_safety="Unsafe: every rank clips by the same norm from now on, which changes the training.",
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html",
        "https://docs.pytorch.org/docs/stable/amp.html",
        "torch/nn/utils/clip_grad.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def step(model):
    model = FSDP(model)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return norm
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def step(model):
    fully_shard(model)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).full_tensor()
    return norm
""",
        ),
    ),
)
