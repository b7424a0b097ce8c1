"""`for p in model.parameters(): p.data = p.data.to(device)` becomes `model.to(device)`.

FSDP2 keeps each shard in a buffer of its own, and ignores another one put in its place; the method
of the model moves that buffer too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Code, Element, Kept, Keyword, attribute, call
from fsdp_migrate.findings.edits import ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.models import models_at
from fsdp_migrate.rule.queries.moved_parameters import Move, is_move, move_around
from fsdp_migrate.rule.queries.parameters import is_summoned, modules, owners
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module

LEFT = (
    "FSDP2 ignores an assignment to .data, without a message: `model.to(device)` moves the "
    "shards of the whole model, gradients and buffers too; write that instead of the loop"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at assignments that put a parameter's data on another device."""
    for module in modules(facts):
        for node in module.parents:
            if isinstance(node, ast.Assign) and is_move(facts, node):
                yield from _moved(facts, module, node)


def _moved(facts: Facts, module: Module, node: ast.Assign) -> Iterable[Finding]:
    target = node.targets[0]
    models = owners(facts, target.value) if isinstance(target, ast.Attribute) else frozenset()
    if not models or is_summoned(facts, module, node):
        return
    move = move_around(facts, module, node)
    units = facts.models(models)
    if move is None:
        yield finding_at(RULE, module, node, LEFT, tier=Tier.MANUAL, models=units)
        return
    yield finding_at(
        RULE,
        module,
        node,
        "FSDP2 ignores an assignment to .data; the model's own method moves its shards, and its "
        "buffers with them",
        tier=Tier.NATIVE,
        edits=[ReplaceStatement(module.span(move.loop), _of_model(module, move))],
        models=facts.models(models_at(facts, move.model)),
    )


def _of_model(module: Module, move: Move) -> Code:
    func = move.call.func
    assert isinstance(func, ast.Attribute)
    given: list[Element] = [Kept(module.span(node)) for node in move.call.args]
    given += [Keyword(k.arg or "", Kept(module.span(k.value))) for k in move.call.keywords]
    return call(attribute(Kept(module.span(move.model)), func.attr), *given)


RULE = Rule(
    code="FSDP420",
    name="moved-parameters",
    summary="loops that move each parameter to a device become `model.to(device)`",
    why=(
        "FSDP2 holds each shard in a buffer of its own: an assignment to `.data` is ignored, and "
        "the memory that was to be freed stays in use."
    ),
    fix_safety=(
        "Safe: the same values on the device that was meant.  The model's buffers go there as "
        "well, and come back with it."
    ),
    left=(
        "A loop that does more than move: write model.to(device), which moves shards, gradients"
        " and buffers."
    ),
    needs=("the loop goes over all parameters of a model, and does nothing but move them",),
    check=no_uses,
    survey=survey,
    references=("torch/distributed/fsdp/_fully_shard/_fully_shard.py",),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def offload(net):
    model = FSDP(net, use_orig_params=True)
    for p in model.parameters():
        p.data = p.data.to("cpu", non_blocking=True)
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def offload(net):
    model = fully_shard(net)
    model.to("cpu", non_blocking=True)
""",
        ),
    ),
)
