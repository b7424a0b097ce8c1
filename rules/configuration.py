"""FSDP1's enums, configuration classes and wrap policies that stay values of the program.

What the constructor took in natively is gone with it.  What is left here is carried around at
run time, in a configuration say, and its names come from the runtime shim from now on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.edits import Import, ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.lowering.wrap_call import MIXED_PRECISION_FIELDS
from fsdp_migrate.rule.rule import Example, Facts, Rule, Use, finding
from fsdp_migrate.rule.shim_types import (
    RENAMED,
    SYMBOLS,
    carried,
    in_shim_wrap,
    is_local,
    is_native_precision,
    swallowed,
    take_from_shim,
    type_name,
)
from fsdp_migrate.rules._surfaces import VALUES
from fsdp_migrate.syntax.fsdp1_names import ROOT


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Take the name from the runtime shim, unless a native fix has swallowed the place."""
    if swallowed(use, facts):
        return
    if is_local(use):
        yield finding(
            RULE,
            use,
            f"{use.name[len(ROOT) + 1 :]} has no FSDP2 form, for there are no flat parameters; "
            "save a sharded or a full state dict instead",
            tier=Tier.MANUAL,
        )
    elif is_native_precision(use, facts):
        yield _precision(use)
    else:
        yield from _carried(use, facts)


def _carried(use: Use, facts: Facts) -> Iterable[Finding]:
    """One finding for all the types that a file carries."""
    uses = [u for u in carried(facts, use.module) if not in_shim_wrap(u, facts)]
    if not uses or uses[0] is not use:
        return
    edits, imports = take_from_shim(uses)
    names = sorted({RENAMED.get(type_name(u), type_name(u)) for u in uses})
    yield finding(
        RULE,
        use,
        f"values known only at run time take their types from the shim: {', '.join(names)}",
        tier=Tier.SHIM,
        edits=edits,
        imports=imports,
    )


def _precision(use: Use) -> Finding:
    """`MixedPrecision(...)` that only native wraps read becomes a `MixedPrecisionPolicy`."""
    name = "MixedPrecisionPolicy"
    if use.call is None:
        edit = ReplaceExpression(use.module.span(use.node), name)
        message = "the annotation MixedPrecision becomes MixedPrecisionPolicy"
    else:
        edit = _policy_call(use, use.call)
        message = "MixedPrecision(...) becomes MixedPrecisionPolicy(...)"
    needed = [Import(ROOT, name)]
    return finding(RULE, use, message, tier=Tier.NATIVE, edits=[edit], imports=needed)


def _policy_call(use: Use, call: ast.Call) -> ReplaceExpression:
    fields = dict(zip(MIXED_PRECISION_FIELDS, call.args, strict=False))
    fields |= {k.arg: k.value for k in call.keywords if k.arg}
    kept = [n for n in ("param_dtype", "reduce_dtype") if n in fields]
    parts = [f"{name}={{{index}}}" for index, name in enumerate(kept)]
    root = fields.get("cast_root_forward_inputs")
    if isinstance(root, ast.Constant) and root.value is False:
        parts.append("cast_forward_inputs=False")
    holes = tuple(use.module.span(fields[name]) for name in kept)
    return ReplaceExpression(
        use.module.span(call), f"MixedPrecisionPolicy({', '.join(parts)})", holes
    )


RULE = Rule(
    code="FSDP102",
    name="configuration-value",
    summary="enums, configuration classes and wrap policies that are carried as values",
    why="FSDP2 has no such types: `fully_shard` takes their meaning as plain arguments.",
    fix_safety="Safe: the shim's types have the same members, fields and defaults.",
    check=check,
    symbols=SYMBOLS,
    surfaces=VALUES,
    examples=(
        Example(
            before="""\
from dataclasses import dataclass

from torch.distributed.fsdp import ShardingStrategy

@dataclass
class Config:
    strategy: ShardingStrategy = ShardingStrategy.FULL_SHARD
""",
            after="""\
from dataclasses import dataclass

from fsdp_migrate.runtime import ShardingStrategy

@dataclass
class Config:
    strategy: ShardingStrategy = ShardingStrategy.FULL_SHARD
""",
        ),
    ),
)
