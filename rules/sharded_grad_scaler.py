"""`ShardedGradScaler(...)` becomes `torch.amp.GradScaler("cuda", ...)`.

https://docs.pytorch.org/docs/stable/amp.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Name, code, qualified
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.mixed_lists import unscaled_together
from fsdp_migrate.rule.queries.values import is_none, library_name
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
WORLD = "torch.distributed.group.WORLD"
DERIVED = "; what the class overrides has to be of the plain scaler's own"
GROUP = "; it asks the ranks of the models' meshes for overflows, and not those of another group"
SHIM = Name(RUNTIME, "ShardedGradScaler")


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace the class, in a call or as a type."""
    models = unscaled_together(facts, use.call) if use.call is not None else frozenset()
    if models:
        yield _for_both(use, facts.models(models))
        return
    edit: Edit = ReplaceExpression(use.module.span(use.node), SCALER)
    aside = DERIVED if _is_base(use) else ""
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
        if not _is_default(facts, call.value("process_group")):
            aside = GROUP
        call.callee = SCALER
        call.drop("process_group")
        call.by_position("device", default=code('"cuda"'))
        edit = call.edit()
    yield finding(
        RULE,
        use,
        f"ShardedGradScaler becomes torch.amp.GradScaler, which knows DTensors{aside}",
        tier=Tier.NATIVE,
        safety=Safety.UNSAFE if aside else Safety.SAFE,
        edits=[edit],
    )


def _for_both(use: Use, units: frozenset[str]) -> Finding:
    """The shim's scaler, for plain and sharded parameters in one optimizer."""
    return finding(
        RULE,
        use,
        "ShardedGradScaler becomes the shim's: an optimizer has plain parameters beside "
        "sharded ones, whose gradients torch.amp.GradScaler can't unscale in one list",
        tier=Tier.SHIM,
        edits=[ReplaceExpression(use.module.span(use.node), SHIM)],
        models=units,
    )


def _is_base(use: Use) -> bool:
    """Whether a class is derived from it."""
    return isinstance(use.module.parents[use.node], ast.ClassDef)


def _is_default(facts: Facts, group: ast.expr | None) -> bool:
    """Whether a process group is that of all ranks."""
    value = facts.value(group)
    return group is None or is_none(value) or library_name(value) == WORLD


RULE = Rule(
    code="FSDP203",
    name="sharded-grad-scaler",
    summary="`ShardedGradScaler` becomes `torch.amp.GradScaler`",
    why="The plain scaler reduces `found_inf` over the ranks for DTensor gradients (torch 2.5).",
    left=(
        "Arguments that come in through *: pass them by name.  Methods that only "
        "ShardedGradScaler has are gone."
    ),
    by_hand=(
        "write torch.amp.GradScaler, and unscale the plain parameters apart: give them an "
        "optimizer of their own, and call `scaler.unscale_` and `scaler.step` for each"
    ),
    fix_safety=(
        "Safe: skipped steps, growth and back-off are the same on every rank.  Unsafe where a "
        "class is derived from it, and where it was given a group of ranks of its own."
    ),
    needs=(
        "the models that it scales for are migrated",
        "the ranks that it asks are all ranks",
        "no class is derived from it",
    ),
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
