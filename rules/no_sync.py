"""`with model.no_sync():` becomes `model.set_requires_gradient_sync(False)`, and True after it.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

The flag is set again after the window, if a backward pass may run without setting it first, and
in a `finally`, if something catches exceptions: no model may be left that silently never reduces
its gradients.  A context that isn't entered where it is made goes through the shim's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import (
    NOTHING,
    Code,
    Kept,
    Literal,
    Name,
    Part,
    attribute,
    block,
    call,
)
from fsdp_migrate.findings.edits import Edit, LeaveContext, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.accumulated_sums import sums_are_kept
from fsdp_migrate.rule.queries.duck_typing import asked_by_name
from fsdp_migrate.rule.queries.method_calls import as_function, given
from fsdp_migrate.rule.queries.microbatches import dropped_inside_window, loop_around
from fsdp_migrate.rule.queries.no_sync_contexts import (
    Choice,
    StackEntry,
    Window,
    find_stack_entry,
)
from fsdp_migrate.rule.queries.no_sync_windows import Windows, find_windows, may_be_nested
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding, no_uses

SYNC = "set_requires_gradient_sync"
RESHARD = "set_reshard_after_backward"  # beside it where weights stay gathered
SHIM = Name(RUNTIME, "no_sync")
UNSAFE = (
    "; where mixed precision reduces in another dtype than it computes in, FSDP2 adds microbatches "
    "up in that of the reduction, FSDP1 did in that of the parameters"
)

DROPPED = (
    "; what is added up is cleared inside a window, which FSDP1 did and FSDP2 does not before the "
    "window ends"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Replace every use of the method: whether a flag is set again depends on all windows."""
    windows = find_windows(facts)
    for use in facts.uses:
        if use.name != "no_sync" or use.receiver is None:
            continue
        if use.certain or not given(use):  # a method of the same name that takes something
            yield _replaced(use, facts, windows)
    yield from asked_by_name(RULE, facts, "no_sync")


def _replaced(use: Use, facts: Facts, windows: Windows) -> Finding:
    window = windows.by_use.get(use)
    entry = find_stack_entry(use, facts) if window is None else None
    edits: list[Edit] = []
    if window is not None:
        edits = list(_without(window, windows))
    elif entry is not None and not may_be_nested(use, facts):
        edits = [_on_stack(entry)]
    aside = _aside(use, facts)
    safety = Safety.UNSAFE if aside else Safety.SAFE
    if edits:
        return finding(
            RULE,
            use,
            f"no_sync becomes set_requires_gradient_sync{aside}",
            tier=Tier.NATIVE,
            edits=edits,
            safety=safety,
            models=facts.models(use.wraps),
        )
    plans = [facts.plan(wrapped) for wrapped in use.wraps]
    keeps = {plan.keeps_unsharded if plan is not None else None for plan in plans}
    more = {"reshard_after_backward": Literal(False)} if use.certain and keeps == {True} else {}
    return finding(
        RULE,
        use,
        f"no_sync goes through the shim's context manager{aside}",
        tier=Tier.SHIM,
        edits=[as_function(use, SHIM, **more)],
        safety=safety,
        models=facts.models(use.wraps),
    )


def _aside(use: Use, facts: Facts) -> str:
    """How the sums may differ, if they may."""
    if not sums_are_kept(facts, use):
        return UNSAFE
    loop = loop_around(use.module, use.node)
    dropped = loop is not None and any(True for _ in dropped_inside_window(facts, use, loop))
    return DROPPED if dropped else ""


def _without(window: Window, windows: Windows) -> Iterator[Edit]:
    """The edits that put the flag in the place of a context."""
    module, choice = window.use.module, window.choice
    to = _flags(choice, choice.condition)
    for statement, item in window.entries:
        yield LeaveContext(
            module.span(item.context_expr),
            before=to if window.is_set_where_entered and not window.idle else None,
            after=None if window.idle or windows.stays(window) else _flags(choice, Literal(True)),
            guarded=statement in windows.guarded,
        )
    if window.stored is not None:
        here = not window.idle and not window.is_set_where_entered
        yield ReplaceStatement(module.span(window.stored), to if here else NOTHING)


def _on_stack(entry: StackEntry) -> ReplaceStatement:
    """An exit stack switches the sync on again when it unwinds."""
    module, choice = entry.choice.use.module, entry.choice
    stack = Kept(module.span(entry.stack))
    undone = [
        call(attribute(stack, "callback"), setter, Literal(True)) for setter in _setters(choice)
    ]
    new = block(_flags(choice, choice.condition), *undone)
    return ReplaceStatement(module.span(entry.statement), new)


def _flags(choice: Choice, value: Part) -> Code:
    """The lines that set the flags of the model to `value`."""
    return block(*(call(setter, value) for setter in _setters(choice)))


def _setters(choice: Choice) -> list[Code]:
    model = Kept(choice.use.module.span(choice.receiver))
    names = [SYNC, RESHARD] if choice.keeps_unsharded else [SYNC]
    return [attribute(model, name) for name in names]


RULE = Rule(
    code="FSDP201",
    name="no-sync",
    summary="`no_sync` becomes `set_requires_gradient_sync`",
    why="FSDP2 reads a flag after the backward pass instead of offering a context manager.",
    fix_safety=(
        "Safe in float32 and wherever gradients are reduced in the dtype of the parameters. "
        "With bf16 parameters and float32 reduction FSDP2 accumulates in float32 where FSDP1 "
        "did in bf16 (losses 2e-4 apart after three steps), which is the better sum.  Unsafe as "
        "well where nobody knows what the model is wrapped with, and where gradients are cleared "
        "inside a window: FSDP2's sums are out of reach until they are reduced."
    ),
    needs=(
        "the receiver is an FSDP1 model and nothing else",
        "gradients are accumulated in the dtype that they are reduced in",
        "so are those of the units inside of the model",
        "the dtype of the parameters is known where only that of the reduction is given",
        "what the model is wrapped with is known",
        "no gradients are cleared inside a window",
    ),
    check=no_uses,
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
