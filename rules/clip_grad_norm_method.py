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
from fsdp_migrate.rule.queries.duck_typing import asked_by_name
from fsdp_migrate.rule.queries.low_parameters import may_be_low
from fsdp_migrate.rule.queries.method_calls import as_function, given
from fsdp_migrate.rule.queries.readers import is_read
from fsdp_migrate.rule.queries.values import from_library, literals
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


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one reference to the method."""
    if use.call is None or use.receiver is None:
        message = "clip_grad_norm_ is taken as a value: the shim's, for this model"
        edit: Edit = ReplaceExpression(use.module.span(use.node), SHIM)
        yield _shim(use, facts, message, as_function(use, SHIM) if use.receiver else edit)
        return
    reason = _not_native(use, use.call, facts)
    if reason:
        message = f"clip_grad_norm_ goes through the shim: {reason}"
        yield _shim(use, facts, message, as_function(use, SHIM))
        return
    model = code("{model}.parameters()", model=Kept(use.module.span(use.receiver)))
    norm = call(_clip_function(use), model, *given(use))
    if is_read(facts, use.module, use.call):
        norm = code("{norm}.full_tensor()", norm=norm)
    aside = _aside(use, facts)
    yield finding(
        RULE,
        use,
        f"model.clip_grad_norm_ becomes {CLIP}{aside}",
        tier=Tier.NATIVE,
        safety=Safety.UNSAFE if aside else Safety.SAFE,
        edits=[ReplaceExpression(use.module.span(use.call), norm)],
        models=facts.models(use.wraps),
    )


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at code that asks objects for the method by its name."""
    return asked_by_name(RULE, facts, "clip_grad_norm_")


def _shim(use: Use, facts: Facts, message: str, edit: Edit) -> Finding:
    units, aside = facts.models(use.wraps), _aside(use, facts)
    safety = Safety.UNSAFE if aside else Safety.SAFE
    return finding(
        RULE, use, message + aside, tier=Tier.SHIM, edits=[edit], safety=safety, models=units
    )


def _aside(use: Use, facts: Facts) -> str:
    """Why the norm may be another, if it may."""
    if may_be_low(facts, use.wraps):
        return IN_LOW
    return FOREIGN if from_library(use.others) else ""


def _not_native(use: Use, clipping: ast.Call, facts: Facts) -> str:
    """Why torch's own function is not enough, or an empty text."""
    plans = [facts.plan(wrapped) for wrapped in use.wraps]
    if any(plan is not None and plan.has_ignored for plan in plans):
        return "parameters may be plain tensors too"
    if not _is_finite(use, clipping, facts):
        return "torch's maximum norm fails on an empty shard"
    if not use.certain or any(isinstance(a, ast.Starred) for a in clipping.args):
        return "the model may be another"
    return ""


def _is_finite(use: Use, clipping: ast.Call, facts: Facts) -> bool:
    """Whether the order of the norm is a plain number."""
    positional = [argument for argument in clipping.args if argument is not use.receiver]
    named = [keyword.value for keyword in clipping.keywords if keyword.arg == "norm_type"]
    order = named or positional[1:2]
    known = literals(facts.value(order[0])) if order else [2.0]
    return known is not None and all(isinstance(each, int | float) for each in known)


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
