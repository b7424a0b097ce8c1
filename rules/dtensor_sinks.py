"""Gradients, parameters and optimizer state that end in what takes no DTensors.

Under FSDP1 they were plain tensors with this rank's elements.  A DTensor raises in most of these
places.  The computation is made one of this rank's shards again, where it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from fsdp_migrate.findings.finding import Finding, Fix, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.tensor_ends import KINDS, End, ends, terms_of_loss
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses

CUT = "; FSDP1 cut the parameters elsewhere, so a single rank has other elements than before"
STRANGERS = "; tensors of unknown origin can be among them, of which a DTensor is cut as well"
LOCAL = "this rank's part is asked for by to_local()"
BY_HAND = (
    "take `p.grad.to_local()` (or `p.to_local()`) for this rank's part, as before, or "
    "`.full_tensor()`, on all ranks, for the whole"
)
WHY = {
    KINDS.REFUSED: "{name} takes no DTensors",
    KINDS.FLAT: "{name} flattens or joins DTensors only where the ranks have equal parts",
    KINDS.PLAIN: "a DTensor can't be written into a plain tensor",
}


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at the places where sharded tensors end up, collectives apart."""
    for end in ends(facts):
        if end.kind in WHY:
            yield _end(facts, end)
        elif end.kind is KINDS.LOSS:
            yield from _loss(facts, end)
        elif end.kind is KINDS.MIXED:
            yield _manual(
                facts,
                end,
                "a plain tensor and a DTensor can't be computed with together: make the one like "
                "the other (`torch.zeros_like(p)`), or " + BY_HAND,
            )
        elif end.kind is KINDS.UNKNOWN:
            yield finding_at(
                RULE,
                end.module,
                end.node,
                "what is given here is a DTensor now, and nothing tells what is done with it: "
                f"where plain tensors are needed, {BY_HAND}",
                tier=Tier.NOTE,
                models=facts.models(end.models),
            )


def _end(facts: Facts, end: End) -> Finding:
    why = WHY[end.kind].format(name=end.name)
    if end.fix is None:
        return _manual(facts, end, f"{why}: {BY_HAND}")
    is_whole = end.is_communicated and end.adds_up  # the ranks add their parts up afterwards
    is_safe = is_whole and not end.has_strangers
    safety = Safety.SAFE if is_safe else Safety.UNSAFE
    aside = "" if is_safe else STRANGERS if is_whole else CUT
    found = finding_at(
        RULE,
        end.module,
        end.node,
        f"{why}: {LOCAL}{aside}",
        tier=Tier.NATIVE,
        safety=safety,
        models=facts.models(end.models),
    )
    return replace(found, fix=Fix(end.fix.edits, safety))


def _loss(facts: Facts, end: End) -> Iterator[Finding]:
    for module, node in terms_of_loss(facts, end):
        yield finding_at(
            RULE,
            module,
            node,
            "the gradient is taken of a loss that is made of parameters: after the forward pass "
            "some are DTensors and some are gathered, which can't be added up, and FSDP1 added "
            "this rank's part of them only.  Add the term's gradient after backward() instead, "
            "`p.grad.add_(p, alpha=...)`, or use the optimizer's weight_decay",
            tier=Tier.MANUAL,
            models=facts.models(end.models),
        )


def _manual(facts: Facts, end: End, message: str) -> Finding:
    models = facts.models(end.models)
    return finding_at(RULE, end.module, end.node, message, tier=Tier.MANUAL, models=models)


RULE = Rule(
    code="FSDP530",
    name="dtensor-sinks",
    summary="gradients and parameters that end in what takes no DTensors",
    why=(
        "Parameters, gradients and optimizer state are DTensors under FSDP2.  NumPy, formats, "
        "`torch.histc`, plain tensors and functions of other libraries refuse them; under FSDP1 "
        "they got this rank's flat part."
    ),
    fix_safety=(
        "Safe where the ranks add up what they compute.  Unsafe elsewhere: each rank computes with "
        "its own part as before, and the parts of all ranks are the same whole, but they are cut "
        "along the first dimension now.  Fixed only where the whole computation can be traced back "
        "to parameters and gradients that are sharded."
    ),
    left=(
        "Where it isn't known what is done with the tensor.  Take p.grad.to_local() for this "
        "rank's part, or p.grad.full_tensor(), on all ranks, for the whole."
    ),
    needs=(
        "the ranks add up what they compute afterwards",
        "the numbers of the ranks add up to that of the whole",
        "no tensor of unknown origin is among those that are computed with",
    ),
    check=no_uses,
    survey=survey,
    references=("https://docs.pytorch.org/docs/stable/distributed.tensor.html",),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def log_gradients(model, writer, step):
    model = FSDP(model, use_orig_params=True)
    for name, p in model.named_parameters():
        writer.add_histogram(name, p.grad.cpu().numpy(), step)
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def log_gradients(model, writer, step):
    fully_shard(model)
    for name, p in model.named_parameters():
        writer.add_histogram(name, p.grad.to_local().cpu().numpy(), step)
""",
        ),
    ),
)
