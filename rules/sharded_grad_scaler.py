"""`ShardedGradScaler(...)` becomes `torch.amp.GradScaler("cuda", ...)`.

https://docs.pytorch.org/docs/stable/amp.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Import, ReplaceExpression, Tier
from fsdp_migrate.findings.spelling import torch_path
from fsdp_migrate.rule.rule import Example, Facts, Rule, Surface, Use, finding
from fsdp_migrate.syntax.fsdp1_names import SHARDED_GRAD_SCALER

PARAMETERS = (
    "device",
    "init_scale",
    "backoff_factor",
    "growth_factor",
    "growth_interval",
    "enabled",
    "process_group",
)


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace the class, in a call or as a type."""
    path, need = torch_path(use.module, "torch.amp")
    imports: list[Import] = [need] if need else []
    name = f"{path}.GradScaler"
    call = use.call
    if call is None:
        edits = [ReplaceExpression(use.module.span(use.node), name)]
    else:
        given: dict[str, ast.expr] = dict(zip(PARAMETERS, call.args, strict=False))
        given |= {k.arg: k.value for k in call.keywords if k.arg}
        spread = [k.value for k in call.keywords if k.arg is None]
        given.pop("process_group", None)
        device = given.pop("device", None)
        holes = []
        parts = ['"cuda"']
        if device is not None:
            parts = ["{0}"]
            holes.append(use.module.span(device))
        for word, node in given.items():
            parts.append(f"{word}={{{len(holes)}}}")
            holes.append(use.module.span(node))
        for node in spread:
            parts.append(f"**{{{len(holes)}}}")
            holes.append(use.module.span(node))
        edits = [
            ReplaceExpression(use.module.span(call), f"{name}({', '.join(parts)})", tuple(holes))
        ]
    yield finding(
        RULE,
        use,
        "ShardedGradScaler becomes torch.amp.GradScaler, which knows DTensors",
        tier=Tier.NATIVE,
        edits=edits,
        imports=imports,
    )


RULE = Rule(
    code="FSDP203",
    name="sharded-grad-scaler",
    summary="`ShardedGradScaler` becomes `torch.amp.GradScaler`",
    why="The plain scaler reduces `found_inf` over the ranks for DTensor gradients (torch 2.5).",
    fix_safety="Safe: skipped steps, growth and back-off are the same on every rank.",
    check=check,
    symbols=(SHARDED_GRAD_SCALER,),
    surfaces=(Surface("sharded_grad_scaler.ShardedGradScaler", "`torch.amp.GradScaler`"),),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

scaler = ShardedGradScaler(init_scale=2.0**12)
""",
            after="""\
import torch

scaler = torch.amp.GradScaler("cuda", init_scale=2.0**12)
""",
        ),
    ),
)
