"""`with model.no_sync():` becomes `model.set_requires_gradient_sync(False)`, and True after it.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

The flag is set again after the window, if a backward pass may run without setting it first, and
in a `finally`, if something catches exceptions: no model may be left that silently never reduces
its gradients.  A context that isn't entered where it is made goes through the shim's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from textwrap import indent

from fsdp_migrate.analysis.values import Result, Value
from fsdp_migrate.findings.finding import Finding, Import, ReplaceExpression, ReplaceStatement, Tier
from fsdp_migrate.rule.queries.duck_typing import asked_by_name
from fsdp_migrate.rule.queries.no_sync_windows import (
    Window,
    Windows,
    condition_of,
    is_null,
    is_repeatable,
    keeps_unsharded,
    may_be_nested,
    windows,
)
from fsdp_migrate.rule.rule import Example, Facts, Rule, Surface, Use, finding, runtime
from fsdp_migrate.syntax.span import Span


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one use of the method."""
    units = facts.units(use.wraps)
    assert use.receiver is not None
    found = windows(facts)
    window = found.by_use.get(use)
    if window is not None:
        yield finding(
            RULE,
            use,
            "no_sync becomes set_requires_gradient_sync",
            tier=Tier.NATIVE,
            edits=[
                *(_entered(found, statement) for statement in window.statements),
                *_stored(window),
            ],
            units=units,
        )
        return
    stacked = _on_stack(use, facts)
    if stacked is not None:
        yield finding(
            RULE,
            use,
            "no_sync becomes set_requires_gradient_sync",
            tier=Tier.NATIVE,
            edits=[stacked],
            units=units,
        )
        return
    hole = (use.module.span(use.receiver),)
    plans = [facts.plan(w) for w in use.wraps]
    keeps = {plan.keeps_unsharded if plan is not None else None for plan in plans}
    more = ", reshard_after_backward=False" if use.certain and keeps == {True} else ""
    imports = [runtime("no_sync")]
    if use.call is not None:
        edit = ReplaceExpression(use.module.span(use.call), f"no_sync({{0}}{more})", hole)
    else:
        edit = ReplaceExpression(use.module.span(use.node), f"partial(no_sync, {{0}}{more})", hole)
        imports.append(Import("functools", "partial"))
    yield finding(
        RULE,
        use,
        "no_sync goes through the shim's context manager",
        tier=Tier.SHIM,
        edits=[edit],
        imports=imports,
        units=units,
    )


def _entered(found: Windows, statement: ast.With) -> ReplaceStatement:
    """What becomes of a `with`, for all the windows that it opens."""
    own = found.in_statement(statement)
    module = own[0].use.module
    holes: list[Span] = []
    before: list[str] = []
    after: list[str] = []
    for window in own:
        if not window.idle and _sets_where_entered(window):
            lines, more = _set(window, len(holes))
            before += lines
            holes += more
        if not window.idle and not found.stays(window):
            assert window.use.receiver is not None
            after.append(f"{{{len(holes)}}}.set_requires_gradient_sync(True)")
            if window.keeps_unsharded:
                after.append(f"{{{len(holes)}}}.set_reshard_after_backward(True)")
            holes.append(module.span(window.use.receiver))
    gone = {item for window in own for item in window.items}
    kept = [item for item in statement.items if item not in gone]
    body = "{body}"
    if kept:
        parts = []
        for item in kept:
            name = f" as {module.text(item.optional_vars)}" if item.optional_vars else ""
            parts.append(f"{{{len(holes)}}}{name}")
            holes.append(module.span(item.context_expr))
        body = f"with {', '.join(parts)}:\n    {{body}}"
    if after and found.guarded(statement):
        lines = ["try:", indent(body, "    "), "finally:", indent("\n".join(after), "    ")]
    else:
        lines = [body, *after]
    return ReplaceStatement(module.span(statement), "\n".join([*before, *lines]), tuple(holes))


def _sets_where_entered(window: Window) -> bool:
    """Whether the flag is set at the `with`, and not where the context was stored."""
    if window.stored is None:
        return True
    block = window.use.module.block(window.stored)
    above = block.index(window.statements[0]) - 1
    return len(window.statements) == 1 and block[above] is window.stored


def _stored(window: Window) -> list[ReplaceStatement]:
    """What becomes of the statement that stored the context."""
    if window.stored is None:
        return []
    span = window.use.module.span(window.stored)
    if window.idle or _sets_where_entered(window):
        return [ReplaceStatement(span, "")]
    lines, holes = _set(window, 0)
    return [ReplaceStatement(span, "\n".join(lines), tuple(holes))]


def _set(window: Window, first: int) -> tuple[list[str], list[Span]]:
    """The lines that set the flags, with holes from `first` on, and the places of the holes."""
    assert window.use.receiver is not None
    condition = window.condition
    for index in range(len(window.holes), 0, -1):
        condition = condition.replace(f"{{{index}}}", f"{{{index + first}}}")
    lines = [f"{{{first}}}.set_requires_gradient_sync({condition})"]
    if window.keeps_unsharded:
        lines.append(f"{{{first}}}.set_reshard_after_backward({condition})")
    return lines, [window.use.module.span(window.use.receiver), *window.holes]


def _on_stack(use: Use, facts: Facts) -> ReplaceStatement | None:
    """An exit stack switches the sync on again when it unwinds."""
    call, module = use.call, use.module
    assert use.receiver is not None
    keeps = keeps_unsharded(use, facts)
    if not use.certain or call is None or use.args or use.keywords or keeps is None:
        return None
    if not is_repeatable(use.receiver) or may_be_nested(use, facts):
        return None
    context: ast.expr = call
    condition = "False"
    holes: tuple[Span, ...] = ()
    parent = module.parents[context]
    if isinstance(parent, ast.IfExp) and parent.test is not context:
        other = parent.orelse if parent.body is context else parent.body
        if not is_null(other, facts, called=True) or (keeps and not is_repeatable(parent.test)):
            return None
        condition, holes = condition_of(use, parent.test, negated=parent.body is context)
        context, parent = parent, module.parents[parent]
    if not isinstance(parent, ast.Call) or parent.args != [context] or parent.keywords:
        return None
    statement, func = module.parents[parent], parent.func
    if not isinstance(statement, ast.Expr) or not isinstance(func, ast.Attribute):
        return None
    if func.attr != "enter_context" or not _is_exit_stack(facts.value(func.value)):
        return None
    stack = module.text(func.value)
    setters = ["set_requires_gradient_sync", *["set_reshard_after_backward"][: int(keeps)]]
    lines = [f"{{0}}.{setter}({condition})" for setter in setters]
    lines += [f"{stack}.callback({{0}}.{setter}, True)" for setter in setters]
    places = (module.span(use.receiver), *holes)
    return ReplaceStatement(module.span(statement), "\n".join(lines), places)


def _is_exit_stack(value: Value) -> bool:
    return bool(value) and all(
        isinstance(atom, Result) and atom.symbol == "contextlib.ExitStack" for atom in value
    )


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at code that asks objects for the method by its name."""
    return asked_by_name(RULE, facts, "no_sync")


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
    survey=survey,
    methods=("no_sync",),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.no_sync",
            "`set_requires_gradient_sync`",
            (Tier.NATIVE, Tier.SHIM),
        ),
    ),
    examples=(
        Example(
            before="""\
from contextlib import nullcontext

from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def train(net, batches, every):
    model = FSDP(net)
    for i, batch in enumerate(batches):
        with model.no_sync() if (i + 1) % every != 0 else nullcontext():
            model(batch).sum().backward()
""",
            after="""\
from torch.distributed.fsdp import fully_shard

def train(net, batches, every):
    model = fully_shard(net)
    for i, batch in enumerate(batches):
        model.set_requires_gradient_sync((i + 1) % every == 0)
        model(batch).sum().backward()
""",
        ),
    ),
)
