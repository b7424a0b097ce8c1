"""`model.clip_grad_norm_(c)` becomes `torch.nn.utils.clip_grad_norm_(model.parameters(), c)`.

https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html

The norm that comes back is a DTensor: where it is read it gets `.full_tensor()`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings import Finding, ReplaceExpression, Span, Tier
from fsdp_migrate.rule import Example, Facts, Rule, Use, finding, runtime, torch_path
from fsdp_migrate.values import constants


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one call of the method."""
    units = facts.units(use.wraps)
    call = use.call
    if call is None or use.receiver is None:
        yield finding(
            RULE,
            use,
            "clip_grad_norm_ is taken as a value; call torch.nn.utils.clip_grad_norm_ instead",
            tier=Tier.MANUAL,
            units=units,
        )
        return
    arguments, holes = _arguments(use, call)
    plans = [facts.plan(w) for w in use.wraps]
    mixed = any(plan is not None and plan.has_ignored for plan in plans)
    starred = any(isinstance(a, ast.Starred) for a in call.args)
    infinite = not _is_finite(call, facts)
    if not use.certain or mixed or starred or infinite:
        reason = "the model may be another"
        if mixed:
            reason = "parameters may be plain tensors too"
        elif infinite:
            reason = "torch's maximum norm fails on an empty shard"
        yield finding(
            RULE,
            use,
            f"clip_grad_norm_ goes through the shim: {reason}",
            tier=Tier.SHIM,
            edits=[
                ReplaceExpression(
                    use.module.span(call), f"clip_grad_norm_({{0}}{arguments})", holes
                )
            ],
            imports=[runtime("clip_grad_norm_")],
            units=units,
        )
        return
    utils, need = torch_path(use.module, "torch.nn.utils")
    text = f"{utils}.clip_grad_norm_({{0}}.parameters(){arguments})"
    span = use.module.span(call)
    if _is_read(use, call):
        text += ".full_tensor()"
    yield finding(
        RULE,
        use,
        "model.clip_grad_norm_ becomes torch.nn.utils.clip_grad_norm_",
        tier=Tier.NATIVE,
        edits=[ReplaceExpression(span, text, holes)],
        imports=[need] if need else [],
        units=units,
    )


def _is_finite(call: ast.Call, facts: Facts) -> bool:
    """Whether the order of the norm is a plain number."""
    given = [k.value for k in call.keywords if k.arg == "norm_type"] or call.args[1:2]
    known = constants(facts.value(given[0])) if given else [2.0]
    return known is not None and all(isinstance(k, int | float) for k in known)


def _arguments(use: Use, call: ast.Call) -> tuple[str, tuple[Span, ...]]:
    """The call's own arguments as a template, and their places after the receiver's."""
    assert use.receiver is not None
    holes = [use.module.span(use.receiver)]
    text = ""
    for argument in call.args:
        text += f", {{{len(holes)}}}"
        holes.append(use.module.span(argument))
    for keyword in call.keywords:
        name = f"{keyword.arg}=" if keyword.arg else "**"
        text += f", {name}{{{len(holes)}}}"
        holes.append(use.module.span(keyword.value))
    return text, tuple(holes)


def _is_read(use: Use, call: ast.Call) -> bool:
    return not isinstance(use.module.parents[call], ast.Expr)


RULE = Rule(
    code="FSDP202",
    name="clip-grad-norm-method",
    summary="`model.clip_grad_norm_(...)` becomes `torch.nn.utils.clip_grad_norm_`",
    why="A module sharded in place has no such method, and DTensors need none.",
    fix_safety=(
        "Safe: the norm is the same up to the order of a sum (1e-7 relative), and exactly the "
        "same for the maximum norm."
    ),
    check=check,
    methods=("clip_grad_norm_",),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def step(model: FSDP, optimizer):
    norm = model.clip_grad_norm_(1.0)
    optimizer.step()
    return norm
""",
            after="""\
import torch
from torch.distributed.fsdp import FSDPModule

def step(model: FSDPModule, optimizer):
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).full_tensor()
    optimizer.step()
    return norm
""",
        ),
    ),
)
