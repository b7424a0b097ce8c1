"""FSDP1's enums, configuration classes and wrap policies that stay values of the program.

What the constructor took in natively is gone with it.  What is left here is carried around at
run time, in a configuration say, and its names come from the runtime shim from now on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings import Finding, Import, ReplaceExpression, Tier
from fsdp_migrate.names import CONFIGS, POLICIES, ROOT
from fsdp_migrate.removal import removed_nodes
from fsdp_migrate.rule import Facts, Rule, Use, finding, runtime
from fsdp_migrate.wraps import MIXED_PRECISION

LOCAL = ("LocalStateDictConfig", "LocalOptimStateDictConfig")


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Take the name from the runtime shim, unless a native fix has swallowed the place."""
    if swallowed(use, facts):
        return
    rest = use.name[len(ROOT) + 1 :].removeprefix("wrap.")
    head = rest.split(".")[0]
    if head in LOCAL or rest == "StateDictType.LOCAL_STATE_DICT":
        yield finding(
            RULE,
            use,
            f"{rest} has no FSDP2 form, for there are no flat parameters; "
            "save a sharded or a full state dict instead",
            tier=Tier.MANUAL,
        )
        return
    policy = native_policy(use, facts)
    if policy is not None:
        yield policy
        return
    if not _is_first(use, head, facts):
        return
    edits: list[ReplaceExpression] = []
    imports: list[Import] = []
    offered = RENAMED.get(head, head)
    for other in _carried(use, head, facts):
        node = _type_reference(other)
        if isinstance(node, ast.Attribute) or offered != head:
            edits.append(ReplaceExpression(use.module.span(node), offered))
            imports.append(runtime(offered))
    yield finding(
        RULE,
        use,
        f"{head} is carried as a value and comes from fsdp_migrate.runtime",
        tier=Tier.SHIM,
        edits=edits,
        imports=imports,
    )


RENAMED = {"_or_policy": "or_policy", "_module_wrap_policy": "ModuleWrapPolicy"}


def _head(use: Use) -> str:
    return use.name[len(ROOT) + 1 :].removeprefix("wrap.").split(".")[0]


def _carried(use: Use, head: str, facts: Facts) -> list[Use]:
    """The references of the file to one type that stay values."""
    return [
        other
        for other in facts.uses
        if other.module is use.module
        and other.name.startswith(ROOT)
        and _head(other) == head
        and not swallowed(other, facts)
        and native_policy(other, facts) is None
    ]


def _is_first(use: Use, head: str, facts: Facts) -> bool:
    return _carried(use, head, facts)[0] is use


def _type_reference(use: Use) -> ast.expr:
    """The part of the reference that names the type: `fsdp.ShardingStrategy` of a member."""
    node: ast.expr = use.node
    rest = use.name[len(ROOT) + 1 :].removeprefix("wrap.")
    for _ in range(rest.count(".")):
        if isinstance(node, ast.Attribute):
            node = node.value
    return node


def native_policy(use: Use, facts: Facts) -> Finding | None:
    """`MixedPrecision(...)` that only native wraps read becomes a `MixedPrecisionPolicy`."""
    if use.name != MIXED_PRECISION:
        return None
    site = use.module.site(use.call) if use.call is not None else None
    native = {
        s
        for plan in facts.plans.values()
        if plan.native and plan.mixed_precision is not None
        for s in plan.mixed_precision.sites
    }
    name = "MixedPrecisionPolicy"
    needed = [Import(ROOT, name)]
    if site is None:
        if not native or not _all_native(facts):
            return None
        edits = [ReplaceExpression(use.module.span(use.node), name)]
        message = "the annotation MixedPrecision becomes MixedPrecisionPolicy"
    elif site in native:
        assert use.call is not None
        edits = [_policy_call(use, use.call)]
        message = "MixedPrecision(...) becomes MixedPrecisionPolicy(...)"
    else:
        return None
    return finding(RULE, use, message, tier=Tier.NATIVE, edits=edits, imports=needed)


def _all_native(facts: Facts) -> bool:
    return all(
        plan.native for plan in facts.plans.values() if "mixed_precision" in plan.fact.arguments
    )


def _policy_call(use: Use, call: ast.Call) -> ReplaceExpression:
    from fsdp_migrate.wraps import MIXED_PRECISION_FIELDS

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


def swallowed(use: Use, facts: Facts) -> bool:
    """Whether the reference goes away with a natively migrated constructor call."""
    return use.node in removed_nodes(facts, use.module)


RULE = Rule(
    code="FSDP102",
    name="configuration-value",
    summary="enums, configuration classes and wrap policies that are carried as values",
    why="FSDP2 has no such types: `fully_shard` takes their meaning as plain arguments.",
    fix_safety="Safe: the shim's types have the same members, fields and defaults.",
    check=check,
    symbols=(
        *(f"{ROOT}.{name}" for name in sorted(CONFIGS)),
        *(f"{ROOT}.wrap.{name}" for name in sorted(POLICIES | {"_or_policy"})),
        f"{ROOT}.wrap._module_wrap_policy",
    ),
)
