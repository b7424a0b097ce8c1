"""`model.clip_grad_norm_(c)` becomes `torch.nn.utils.clip_grad_norm_(model.parameters(), c)`.

https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html

The norm that comes back is a DTensor: where it is read it gets `.full_tensor()`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.values import constants
from fsdp_migrate.findings.finding import Finding, Import, ReplaceExpression, Tier
from fsdp_migrate.findings.spelling import local_name, torch_path
from fsdp_migrate.rule.queries.duck_typing import asked_by_name
from fsdp_migrate.rule.rule import Example, Facts, Rule, Surface, Use, call_parts, finding, runtime

PARTIAL = (Import("functools", "partial"),)


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one call of the method."""
    units = facts.units(use.wraps)
    call = use.call
    if call is None or use.receiver is None:
        yield _value(use, units)
        return
    given, holes = call_parts(use.module, use, use.receiver)
    arguments = f", {given}" if given else ""
    plans = [facts.plan(w) for w in use.wraps]
    mixed = any(plan is not None and plan.has_ignored for plan in plans)
    starred = any(isinstance(a, ast.Starred) for a in use.args)
    infinite = not _is_finite(use, facts)
    if not use.certain or mixed or starred or infinite:
        reason = "the model may be another"
        if mixed:
            reason = "parameters may be plain tensors too"
        elif infinite:
            reason = "torch's maximum norm fails on an empty shard"
        yield finding(
            RULE,
            use,
            f"clip_grad_norm_ goes through the shim: {reason}",
            tier=Tier.SHIM,
            edits=[
                ReplaceExpression(
                    use.module.span(call), f"clip_grad_norm_({{0}}{arguments})", holes
                )
            ],
            imports=[runtime("clip_grad_norm_")],
            units=units,
        )
        return
    function, need = _clip_function(use)
    text = f"{function}({{0}}.parameters(){arguments})"
    span = use.module.span(call)
    if _is_read(use, call):
        text += ".full_tensor()"
    yield finding(
        RULE,
        use,
        "model.clip_grad_norm_ becomes torch.nn.utils.clip_grad_norm_",
        tier=Tier.NATIVE,
        edits=[ReplaceExpression(span, text, holes)],
        imports=[need] if need else [],
        units=units,
    )


def _value(use: Use, units: frozenset[str]) -> Finding:
    """`clip = model.clip_grad_norm_`, to be called elsewhere."""
    if use.receiver is None:
        edit = ReplaceExpression(use.module.span(use.node), "clip_grad_norm_")
    else:
        hole = (use.module.span(use.receiver),)
        edit = ReplaceExpression(use.module.span(use.node), "partial(clip_grad_norm_, {0})", hole)
    return finding(
        RULE,
        use,
        "clip_grad_norm_ is taken as a value: the shim's, for this model",
        tier=Tier.SHIM,
        edits=[edit],
        imports=[runtime("clip_grad_norm_"), *PARTIAL[: use.receiver is not None]],
        units=units,
    )


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at code that asks objects for the method by its name."""
    return asked_by_name(RULE, facts, "clip_grad_norm_")


def _is_finite(use: Use, facts: Facts) -> bool:
    """Whether the order of the norm is a plain number."""
    given = [k.value for k in use.keywords if k.arg == "norm_type"] or use.args[1:2]
    known = constants(facts.value(given[0])) if given else [2.0]
    return known is not None and all(isinstance(k, int | float) for k in known)


def _is_read(use: Use, call: ast.Call) -> bool:
    """Whether something may look at the norm."""
    parent = use.module.parents[call]
    if isinstance(parent, ast.Expr):
        return False
    function = use.module.function(call)
    if not isinstance(parent, ast.Assign) or function is None:
        return True
    names = {target.id for target in parent.targets if isinstance(target, ast.Name)}
    return len(names) < len(parent.targets) or any(
        (isinstance(n, ast.Name) and n.id in names and isinstance(n.ctx, ast.Load))
        or (isinstance(n, ast.Global | ast.Nonlocal) and names & set(n.names))
        or (isinstance(n, ast.Call) and ast.unparse(n.func) in {"locals", "eval", "exec"})
        for n in ast.walk(function)
    )


def _clip_function(use: Use) -> tuple[str, Import | None]:
    """torch's function as the file spells it already, or would."""
    imported = local_name(use.module, "torch.nn.utils", "clip_grad_norm_")
    if imported is not None:
        return imported, None
    full = "torch.nn.utils.clip_grad_norm_"
    for node in ast.walk(use.module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "clip_grad_norm_":
            if ast.unparse(node) == full and "torch" in use.module.global_names:
                return full, None
    utils, need = torch_path(use.module, "torch.nn.utils")
    return f"{utils}.clip_grad_norm_", need


RULE = Rule(
    code="FSDP202",
    name="clip-grad-norm-method",
    summary="`model.clip_grad_norm_(...)` becomes `torch.nn.utils.clip_grad_norm_`",
    why="A module sharded in place has no such method, and DTensors need none.",
    fix_safety=(
        "Safe: the norm is the same up to the order of a sum (1e-7 relative), and exactly the "
        "same for the maximum norm."
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
