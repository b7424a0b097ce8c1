"""What FSDP1 got wrong and FSDP2 gets right: `torch.nn.utils` clipping, and the plain GradScaler.

https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html

The code stays; the training changes, because every rank now sees the same norm and the same
overflows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.values import Result, Wrapped
from fsdp_migrate.findings.finding import Finding, ReplaceExpression, Safety, Tier
from fsdp_migrate.rule.queries.parameters import called, calls, dtypes, is_certain, owners
from fsdp_migrate.rule.rule import Example, Facts, Rule, call_parts, finding_at, no_uses, runtime
from fsdp_migrate.syntax.module import Module

CLIP = frozenset({"torch.nn.utils.clip_grad_norm_", "torch.nn.utils.clip_grad.clip_grad_norm_"})
SCALERS = frozenset({"torch.cuda.amp.GradScaler", "torch.amp.GradScaler", "torch.GradScaler"})
CHANGE = (
    "FSDP1 clipped by each rank's own norm (14.1 on one rank and 31.4 on the other, in one "
    "measured step); FSDP2 clips by the norm of the whole"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at every call."""
    for module, call in calls(facts):
        if called(facts, call) & CLIP and call.args:
            models = owners(facts, call.args[0])
            if models:
                yield _clip(facts, module, call, models)
        elif isinstance(call.func, ast.Attribute) and call.func.attr == "step" and call.args:
            yield from _scaler(facts, module, call)


# ---------------------------------------------------------------------- clipping
def _clip(facts: Facts, module: Module, call: ast.Call, models: frozenset[Wrapped]) -> Finding:
    plans = [facts.plan(wrapped) for wrapped in models]
    mixed = any(plan is None or plan.has_ignored for plan in plans)
    read = not isinstance(module.parents[call], ast.Expr)
    parameters = call.args[0]
    text, holes = call_parts(module, call, call.func)
    units = facts.units(models)
    if mixed and isinstance(parameters, ast.Call) and isinstance(parameters.func, ast.Attribute):
        if parameters.func.attr == "parameters":
            model = module.span(parameters.func.value)
            return finding_at(
                RULE,
                module,
                call,
                f"clipping goes through the shim: parameters may be plain tensors too; {CHANGE}",
                tier=Tier.SHIM,
                safety=Safety.UNSAFE,
                edits=[
                    ReplaceExpression(
                        module.span(call),
                        f"clip_grad_norm_({text})",
                        (holes[0], model, *holes[2:]),
                    )
                ],
                imports=[runtime("clip_grad_norm_")],
                units=units,
            )
    if read and is_certain(facts, parameters):
        return finding_at(
            RULE,
            module,
            call,
            f"the norm that comes back is a DTensor and gets full_tensor(); {CHANGE}",
            tier=Tier.NATIVE,
            safety=Safety.UNSAFE,
            edits=[ReplaceExpression(module.span(call), f"{{0}}({text}).full_tensor()", holes)],
            units=units,
        )
    return finding_at(RULE, module, call, CHANGE, tier=Tier.NOTE, safety=Safety.UNSAFE, units=units)


# ---------------------------------------------------------------------- scaling
def _scaler(facts: Facts, module: Module, call: ast.Call) -> Iterator[Finding]:
    """`scaler.step(optimizer)` of a plain scaler, for a model in float16."""
    assert isinstance(call.func, ast.Attribute)
    scalers = {atom.symbol for atom in facts.value(call.func.value) if isinstance(atom, Result)}
    if not scalers & SCALERS:
        return
    models: set[Wrapped] = set()
    for atom in facts.value(call.args[0]):
        made = facts.solver.call_nodes.get(atom.site) if isinstance(atom, Result) else None
        if made is not None:
            for argument in made.args[:1]:
                models |= owners(facts, argument)
    half = {
        wrapped
        for wrapped in models
        if any(param in {"float16", "half"} for param, _ in dtypes(facts, wrapped))
    }
    if half:
        yield finding_at(
            RULE,
            module,
            call,
            "the plain GradScaler saw each rank's own shards under FSDP1: ranks skipped steps, and "
            "scaled, apart from each other (8 on one rank, 4 on the other).  With FSDP2 they agree",
            tier=Tier.NOTE,
            safety=Safety.UNSAFE,
            units=facts.units(half),
        )


RULE = Rule(
    code="FSDP509",
    name="repaired",
    summary="clipping by `torch.nn.utils` and plain grad scalers, which FSDP2 makes right",
    why=(
        "`torch.nn.utils.clip_grad_norm_` and `torch.amp.GradScaler` know DTensors, and knew "
        "nothing of FSDP1's shards."
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
