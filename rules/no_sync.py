"""`with model.no_sync():` becomes `model.set_requires_gradient_sync(False)`, and True after it.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

The flag is set again after the window, if a backward pass may run without setting it first, and
in a `finally`, if something catches exceptions: no model may be left that silently never reduces
its gradients.  A function that returns the context sets the flag where every caller enters it at
once, and becomes a context manager elsewhere; a context that is kept as a value is made by a
function which the file gets.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.accumulated_sums import sums_are_kept
from fsdp_migrate.rule.queries.duck_typing import asked_by_name
from fsdp_migrate.rule.queries.method_calls import given
from fsdp_migrate.rule.queries.microbatches import dropped_inside_window, loop_around
from fsdp_migrate.rule.queries.no_sync_contexts import keeps_unsharded
from fsdp_migrate.rule.queries.no_sync_forms import Forms, Kind
from fsdp_migrate.rule.queries.partial_optimizers import keeps_cleared_gradients
from fsdp_migrate.rule.queries.strategy_names import released_if
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding_in, no_uses

FLAG = "no_sync becomes set_requires_gradient_sync"
MESSAGES = {
    Kind.PLACE: FLAG,
    Kind.MANAGER: f"{FLAG}, in a function that is a context manager now",
    Kind.DEFINED: f"{FLAG}, in a context manager of the file's own",
    Kind.SHIM: "no_sync goes through the shim's context manager",
}
UNSAFE = (
    "; where mixed precision reduces in another dtype than it computes in, FSDP2 adds microbatches "
    "up in that of the reduction, FSDP1 did in that of the parameters"
)

GATHERED = (
    "; the sharding strategy is known only at run time: where it keeps weights after the forward, "
    "model.set_reshard_after_backward with the same flag has them gathered once for a window"
)
DROPPED = (
    "; what is added up is cleared inside a window, which FSDP1 did and FSDP2 does not before the "
    "window ends"
)
CLEARED = (
    "; with NO_SHARD FSDP1 went on adding to gradients that an optimizer of some of the parameters "
    "had cleared, FSDP2 starts anew"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Replace every use of the method: whether a flag is set again depends on all windows."""
    uses = [
        use
        for use in facts.uses
        if use.name == "no_sync" and use.receiver is not None
        if use.certain or not given(use)  # a method of the same name that takes something
    ]
    forms = Forms.of(facts, uses)
    yield from (_replaced(use, facts, forms) for use in uses)
    yield from asked_by_name(RULE, facts, "no_sync", forms.bound)


def _replaced(use: Use, facts: Facts, forms: Forms) -> Finding:
    form, aside = forms.of_use(use), _aside(use, facts)
    message = MESSAGES[form.kind]
    if form.kind is Kind.SHIM:
        message += _why(use)
    elif keeps_unsharded(use, facts) is None:
        message += "" if form.kind is not Kind.DEFINED and released_if(use, facts) else GATHERED
    return finding_in(
        RULE,
        use.module,
        use.node,
        f"{message}{aside}",
        tier=Tier.SHIM if form.kind is Kind.SHIM else Tier.NATIVE,
        edits=form.edits,
        safety=Safety.UNSAFE if aside else Safety.SAFE,
        models=facts.models(use.wraps),
    )


def _why(use: Use) -> str:
    """Why no form of FSDP2's own is right for all that it may be."""
    if not use.certain:
        return ": what has the method may be another object than a model of this program"
    return ": it may be entered inside of another one, which has to outlast it"


def _aside(use: Use, facts: Facts) -> str:
    """How the sums may differ, if they may."""
    if not sums_are_kept(facts, use):
        return UNSAFE
    loop = loop_around(use.module, use.node)
    dropped = loop is not None and any(True for _ in dropped_inside_window(facts, use, loop))
    if dropped:
        return DROPPED
    return CLEARED if keeps_cleared_gradients(facts, use) else ""


RULE = Rule(
    code="FSDP201",
    name="no-sync",
    summary="`no_sync` becomes `set_requires_gradient_sync`",
    why="FSDP2 reads a flag after the backward pass instead of offering a context manager.",
    by_hand=(
        "call `model.set_requires_gradient_sync(False)` before the forward of a batch whose "
        "gradients are only added up, and `set_requires_gradient_sync(True)` before that of the "
        "last one"
    ),
    fix_safety=(
        "Safe in float32 and wherever gradients are reduced in the dtype of the parameters. "
        "With bf16 parameters and float32 reduction FSDP2 accumulates in float32 where FSDP1 "
        "did in bf16 (losses 2e-4 apart after three steps), which is the better sum.  Unsafe as "
        "well where nobody knows what the model is wrapped with, and where gradients are cleared "
        "inside a window: FSDP2's sums are out of reach until they are reduced.  So it is with "
        "NO_SHARD where an optimizer clears some gradients of a unit and not all."
    ),
    needs=(
        "the receiver is an FSDP1 model and nothing else",
        "gradients are accumulated in the dtype that they are reduced in",
        "so are those of the units inside of the model",
        "the dtype of the parameters is known where only that of the reduction is given",
        "what the model is wrapped with is known",
        "no gradients are cleared inside a window",
        "what clears gradients clears all of a model's, where nothing is sharded",
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
