"""`model.clip_grad_norm_(c)` becomes `torch.nn.utils.clip_grad_norm_(model.parameters(), c)`.

https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html

The norm that comes back is a DTensor: where it is read it gets `.full_tensor()`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Kept, Name, Part, call, code, qualified
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.findings.spelling import local_names
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.clip_forms import (
    Written,
    binding,
    called_with,
    written_for_call,
    written_for_value,
)
from fsdp_migrate.rule.queries.duck_typing import asked_by_name
from fsdp_migrate.rule.queries.low_parameters import may_be_low
from fsdp_migrate.rule.queries.method_calls import as_function, given
from fsdp_migrate.rule.queries.readers import is_read
from fsdp_migrate.rule.queries.values import from_library
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

CLIP = "torch.nn.utils.clip_grad_norm_"
IN_LOW = (
    "; where the parameters themselves are in low precision FSDP2 takes the norm in that dtype, "
    "FSDP1 took it in float32"
)
FOREIGN = "; the object of a library may look for the method in the model that it was given"
SHIM = Name(RUNTIME, "clip_grad_norm_")
BECOMES = "model.clip_grad_norm_ becomes"


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one reference to the method."""
    if use.receiver is None:
        message = "clip_grad_norm_ is taken as a value: the shim's, for a model that comes later"
        edit: Edit = ReplaceExpression(use.module.span(use.node), SHIM)
        yield _found(use, facts, message, [edit], Tier.SHIM)
        return
    if use.call is None:
        yield _as_value(use, facts)
        return
    written = written_for_call(use, facts)
    if written is None:
        yield _found(use, facts, f"{BECOMES} {CLIP}", [_plain(use, facts)])
    elif written.definition is None:
        message = f"clip_grad_norm_ goes through the shim: {written.words}"
        yield _found(use, facts, message, [as_function(use, SHIM)], Tier.SHIM)
    else:
        message = f"{BECOMES} a function of the file's own: {written.words}"
        edits = written.edits(use.module, use.call, called_with(written, use, facts))
        yield _found(use, facts, message, edits)


def _as_value(use: Use, facts: Facts) -> Finding:
    """The method without a call, for somebody else to call."""
    written = written_for_value(use.module, use.wraps, facts) if use.certain else Written()
    if written.definition is None or use.receiver is None:
        words = written.words or "the model may be another"
        message = f"clip_grad_norm_ is taken as a value: the shim's, for this model: {words}"
        return _found(use, facts, message, [as_function(use, SHIM)], Tier.SHIM)
    message = "clip_grad_norm_ is taken as a value: a function of the file's own"
    new = written.bound(Kept(use.module.span(use.receiver)))
    return _found(use, facts, message, written.edits(use.module, use.node, new))


def _plain(use: Use, facts: Facts) -> Edit:
    """PyTorch's function in the place of the method."""
    assert use.call is not None
    assert use.receiver is not None
    model = code("{model}.parameters()", model=Kept(use.module.span(use.receiver)))
    norm = call(_clip_function(use), model, *given(use))
    if is_read(facts, use.module, use.call):
        norm = code("{norm}.full_tensor()", norm=norm)
    return ReplaceExpression(use.module.span(use.call), norm)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at code that asks objects for the method by its name."""

    return asked_by_name(RULE, facts, "clip_grad_norm_", binding(facts))


def _found(
    use: Use, facts: Facts, message: str, edits: Iterable[Edit], tier: Tier = Tier.NATIVE
) -> Finding:
    aside, models = _aside(use, facts), facts.models(use.wraps)
    safety = Safety.UNSAFE if aside else Safety.SAFE
    return finding(RULE, use, message + aside, tier=tier, edits=edits, safety=safety, models=models)


def _aside(use: Use, facts: Facts) -> str:
    """Why the norm may be another, if it may."""
    if may_be_low(facts, use.wraps):
        return IN_LOW
    return FOREIGN if from_library(use.others) else ""


def _clip_function(use: Use) -> Part:
    """torch's function as the file spells it already, or would."""
    module = use.module
    if local_names(module, "torch.nn.utils", "clip_grad_norm_"):
        return Name("torch.nn.utils", "clip_grad_norm_")
    for node in nodes_in(module.tree):
        if isinstance(node, ast.Attribute) and path_of(node) == CLIP:
            if "torch" in module.global_names:
                return Kept(module.span(node))
    return qualified(CLIP)


RULE = Rule(
    code="FSDP202",
    name="clip-grad-norm-method",
    summary="`model.clip_grad_norm_(...)` becomes `torch.nn.utils.clip_grad_norm_`",
    why="A module sharded in place has no such method, and DTensors need none.",
    by_hand=(
        "where all parameters are sharded, write `torch.nn.utils.clip_grad_norm_("
        "model.parameters(), max_norm)`; where some are plain, give the gradients that are "
        "DTensors and the others to `torch.nn.utils.get_total_norm` apart, take `full_tensor()` "
        "of the first norm, and scale each kind with `clip_grads_with_norm_` by the norm of both"
    ),
    fix_safety=(
        "Safe: the norm is the same up to the order of a sum (1e-7 relative), and exactly the "
        "same for the maximum norm.  Unsafe where the parameters themselves are cast to bf16 or "
        "fp16, whose norm FSDP1 took in float32."
    ),
    needs=(
        "the receiver is an FSDP1 model",
        "the receiver is no object of a library that holds the model",
        "the parameters themselves are in float32",
        "the model is migrated",
    ),
    check=check,
    survey=survey,
    methods=("clip_grad_norm_",),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.clip_grad_norm_",
            "`torch.nn.utils.clip_grad_norm_`",
            (Tier.NATIVE, Tier.SHIM),
        ),
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def step(model: FSDP, optimizer):
    norm = model.clip_grad_norm_(1.0)
    optimizer.step()
    return norm
""",
            after="""\
import torch
from torch.distributed.fsdp import FSDPModule

def step(model: FSDPModule, optimizer):
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).full_tensor()
    optimizer.step()
    return norm
""",
        ),
    ),
)
