"""`model.children()` of the wrapper gave the module inside, which is the model itself now.

Functions that go down a tree of modules are left alone: they come to the same modules either way.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Kept, Part, code
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.module_walks import name_beside, taken_first, takes_inner
from fsdp_migrate.rule.rule import Example, Rule, finding


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Look at one call; what is not certain is said by FSDP405."""
    if use.call is None or use.receiver is None or not takes_inner(facts, use.module, use.call):
        return
    yield finding(
        RULE,
        use,
        "the wrapper's one child was the module inside, which is the model now",
        tier=Tier.NATIVE,
        edits=_edits(use, use.call, Kept(use.module.span(use.receiver))),
        models=facts.models(use.wraps),
    )


def _edits(use: Use, call: ast.Call, model: Part) -> list[ReplaceExpression]:
    """What reads the one child reads the model."""
    module = use.module
    only = code("[{model}]", model=model)
    if use.name == "named_children":
        beside = name_beside(module, call)
        assert beside is not None
        target, child = beside
        return [
            ReplaceExpression(module.span(target), Kept(module.span(child))),
            ReplaceExpression(module.span(call), only),
        ]
    first = taken_first(module, call)
    if first is not None:
        return [ReplaceExpression(module.span(first), model)]
    parent = module.parents[call]
    read_at_once = isinstance(parent, ast.For | ast.comprehension | ast.Starred) or (
        isinstance(parent, ast.Call) and call in parent.args
    )
    if not read_at_once:
        only = code("iter({only})", only=only)
    return [ReplaceExpression(module.span(call), only)]


RULE = Rule(
    code="FSDP422",
    name="wrapper-children",
    summary="`model.children()` of the wrapper, which were the module inside, are the model",
    why=(
        "FSDP1 put a wrapper around the module, whose only child was that module.  FSDP2 has no "
        "wrapper: the same call gives the module's own children."
    ),
    fix_safety=(
        "Safe: what was done to the module inside is done to the same module, where the model is "
        "known.  Where the child's name is read, or the object may be another, the call stays."
    ),
    needs=(
        "the receiver is an FSDP1 model and nothing else",
        "the function does not go on to the children's children",
    ),
    check=check,
    methods=("children", "named_children"),
    references=("torch/distributed/fsdp/fully_sharded_data_parallel.py",),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def freeze(net):
    model = FSDP(net)
    for child in model.children():
        child.requires_grad_(False)
    return next(model.children())
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def freeze(net):
    model = fully_shard(net)
    for child in [model]:
        child.requires_grad_(False)
    return model
""",
        ),
    ),
)
