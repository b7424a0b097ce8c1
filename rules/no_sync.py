"""`with model.no_sync():` becomes `model.set_requires_gradient_sync(False)`, and True after it.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

The sync is switched on again in a `finally`, so that an exception leaves no model that silently
never reduces its gradients.  A context that isn't entered where it is made goes through the
shim's context manager.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings import Finding, ReplaceExpression, ReplaceStatement, Span, Tier
from fsdp_migrate.rule import Facts, Rule, Use, finding, runtime
from fsdp_migrate.values import Symbol

NULL = {Symbol("contextlib.nullcontext"), Symbol("contextlib.suppress")}


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one use of the method."""
    units = facts.units(use.wraps)
    assert use.receiver is not None
    plans = [facts.plan(w) for w in use.wraps]
    keeps = {plan.keeps_unsharded if plan is not None else None for plan in plans}
    with_item = _with_item(use, facts)
    if use.certain and with_item is not None and keeps <= {True, False} and len(keeps) == 1:
        yield _native(use, units, *with_item, keeps_unsharded=keeps == {True})
        return
    hole = (use.module.span(use.receiver),)
    if use.call is not None:
        edit = ReplaceExpression(use.module.span(use.call), "no_sync({0})", hole)
        imports = [runtime("no_sync")]
    else:
        edit = ReplaceExpression(use.module.span(use.node), "partial(no_sync, {0})", hole)
        from fsdp_migrate.findings import Import

        imports = [runtime("no_sync"), Import("functools", "partial")]
    yield finding(
        RULE,
        use,
        "no_sync goes through the shim's context manager",
        tier=Tier.SHIM,
        edits=[edit],
        imports=imports,
        units=units,
    )


def _with_item(use: Use, facts: Facts) -> tuple[ast.With, str, tuple[Span, ...]] | None:
    """The `with` that the call is the only item of, and when it synchronises, as a template."""
    call = use.call
    if call is None or call.args or call.keywords:
        return None
    module = use.module
    parent = module.parents[call]
    condition: str = "False"
    holes: tuple[Span, ...] = ()
    context: ast.AST = call
    if isinstance(parent, ast.IfExp):
        other = parent.orelse if parent.body is call else parent.body
        if not isinstance(other, ast.Call) or not facts.value(other.func) & NULL:
            return None
        test, negated = parent.test, parent.body is call
        if negated and isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, negated = test.operand, False
        holes = (module.span(test),)
        condition = "not {1}" if negated else "{1}"
        if negated and isinstance(test, ast.Compare) and len(test.ops) == 1:
            flipped = _FLIPPED.get(type(test.ops[0]))
            if flipped is not None:
                holes = (module.span(test.left), module.span(test.comparators[0]))
                condition = f"{{1}} {flipped} {{2}}"
        context = parent
    item = module.parents[context]
    if not isinstance(item, ast.withitem) or item.optional_vars is not None:
        return None
    statement = module.parents[item]
    if not isinstance(statement, ast.With) or len(statement.items) != 1:
        return None
    return statement, condition, holes


_FLIPPED: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}


def _native(
    use: Use,
    units: frozenset[str],
    statement: ast.With,
    condition: str,
    holes: tuple[Span, ...],
    keeps_unsharded: bool,
) -> Finding:
    assert use.receiver is not None
    before = [f"{{0}}.set_requires_gradient_sync({condition})"]
    after = ["    {0}.set_requires_gradient_sync(True)"]
    if keeps_unsharded:
        before.append(f"{{0}}.set_reshard_after_backward({condition})")
        after.append("    {0}.set_reshard_after_backward(True)")
    template = "\n".join([*before, "try:", "    {body}", "finally:", *after])
    span = use.module.span(statement)
    return finding(
        RULE,
        use,
        "no_sync becomes set_requires_gradient_sync",
        tier=Tier.NATIVE,
        edits=[ReplaceStatement(span, template, (use.module.span(use.receiver), *holes))],
        units=units,
    )


RULE = Rule(
    code="FSDP201",
    name="no-sync",
    summary="`no_sync` becomes `set_requires_gradient_sync`",
    why="FSDP2 reads a flag after the backward pass instead of offering a context manager.",
    fix_safety=(
        "Safe in float32 and wherever gradients are reduced in the dtype of the parameters. "
        "With bf16 parameters and float32 reduction FSDP2 accumulates in float32 where FSDP1 "
        "did in bf16 (losses 2e-4 apart after three steps), which is the better sum."
    ),
    check=check,
    methods=("no_sync",),
)
