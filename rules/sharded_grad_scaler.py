"""`ShardedGradScaler(...)` becomes `torch.amp.GradScaler("cuda", ...)`.

https://docs.pytorch.org/docs/stable/amp.html
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.code import Name, code, qualified
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.mixed_lists import unscaled_together
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding
from fsdp_migrate.syntax.fsdp1_names import SHARDED_GRAD_SCALER

SIGNATURE = (
    "device",
    "init_scale",
    "backoff_factor",
    "growth_factor",
    "growth_interval",
    "enabled",
    "process_group",
)
SCALER = qualified("torch.amp.GradScaler")
SHIM = Name(RUNTIME, "ShardedGradScaler")


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace the class, in a call or as a type."""
    models = unscaled_together(facts, use.call) if use.call is not None else frozenset()
    if models:
        yield finding(
            RULE,
            use,
            "ShardedGradScaler becomes the shim's: an optimizer has plain parameters beside "
            "sharded ones, whose gradients torch.amp.GradScaler can't unscale in one list",
            tier=Tier.SHIM,
            edits=[ReplaceExpression(use.module.span(use.node), SHIM)],
            models=facts.models(models),
        )
        return
    edit: Edit = ReplaceExpression(use.module.span(use.node), SCALER)
    if use.call is not None:
        call = use.arguments(SIGNATURE)
        if call.has_star:
            yield finding(
                RULE,
                use,
                "arguments of ShardedGradScaler come in through `*`; pass them by name, for "
                "torch.amp.GradScaler takes them in another order",
                tier=Tier.MANUAL,
            )
            return
        if call.has_excess:
            yield finding(RULE, use, "ShardedGradScaler takes no such arguments", tier=Tier.MANUAL)
            return
        call.callee = SCALER
        call.drop("process_group")
        call.by_position("device", default=code('"cuda"'))
        edit = call.edit()
    yield finding(
        RULE,
        use,
        "ShardedGradScaler becomes torch.amp.GradScaler, which knows DTensors",
        tier=Tier.NATIVE,
        edits=[edit],
    )


RULE = Rule(
    code="FSDP203",
    name="sharded-grad-scaler",
    summary="`ShardedGradScaler` becomes `torch.amp.GradScaler`",
    why="The plain scaler reduces `found_inf` over the ranks for DTensor gradients (torch 2.5).",
    fix_safety="Safe: skipped steps, growth and back-off are the same on every rank.",
    needs=("the models that it scales for are migrated",),
    check=check,
    symbols=(SHARDED_GRAD_SCALER,),
    surfaces=(
        Surface(
            "sharded_grad_scaler.ShardedGradScaler",
            "`torch.amp.GradScaler`",
            (Tier.NATIVE, Tier.SHIM, Tier.MANUAL),
        ),
    ),
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
