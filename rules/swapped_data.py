"""`p.data = shadow[name]` becomes `p.data.copy_(shadow[name])`: averages that are put in and out.

What is kept has to be sharded copies, made of the parameters after the wrap; what shared memory
with a parameter becomes a copy of it, for writing into the parameter would change it too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Code, Kept, code, variable
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import modules
from fsdp_migrate.rule.queries.swapped_data import PutBack, put_back
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module

MESSAGE = (
    "an assignment to .data is ignored by FSDP2; the values are copied.  Where the model ran in "
    "between, FSDP1 wrote over what was kept, or did not put it back into the root; now it is put "
    "back"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at assignments that put kept values into parameters."""
    for module in modules(facts):
        for node in module.parents:
            found = put_back(facts, module, node) if isinstance(node, ast.Assign) else None
            if found is not None and isinstance(node, ast.Assign):
                yield finding_at(
                    RULE,
                    module,
                    node,
                    MESSAGE,
                    tier=Tier.NATIVE,
                    safety=Safety.UNSAFE,
                    edits=_edits(module, node, found),
                    models=facts.models(found.models),
                )


def _edits(module: Module, node: ast.Assign, found: PutBack) -> Iterable[Edit]:
    yield ReplaceStatement(module.span(node), _copied(module, node, found))
    for value in map(module.span, found.aliases):
        yield ReplaceExpression(value, code("{value}.clone()", value=Kept(value)))


def _copied(module: Module, node: ast.Assign, found: PutBack) -> Code:
    if found.pair is None:
        target, value = (Kept(module.span(n)) for n in (node.targets[0], node.value))
        return code("{data}.copy_({value})", data=target, value=value)
    one, other = (Kept(module.span(side)) for side in found.pair)
    return code(
        "{kept} = {one}.clone()\n{one}.copy_({other})\n{other}.copy_({kept})",
        kept=variable("kept", "values"),
        one=one,
        other=other,
    )


RULE = Rule(
    code="FSDP421",
    name="swapped-data",
    summary="averages that are put into parameters by `.data`, and taken out, are copied",
    why=(
        "FSDP2 holds each shard in a buffer of its own, and ignores another tensor put in its "
        "place: an evaluation of the average would evaluate the weights that are trained."
    ),
    fix_safety=(
        "Unsafe: where the model runs while the average is in it, FSDP1 wrote the average over "
        "what was kept, or did not put it back into the root, so that training went on from "
        "there.  Otherwise the values are the same, bit for bit."
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_flat_param.py",
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def evaluate(net, run):
    model = FSDP(net, use_orig_params=True)
    backup = {}
    for name, p in model.named_parameters():
        backup[name] = p.data
    run(model)
    for name, p in model.named_parameters():
        p.data = backup[name]
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def evaluate(net, run):
    model = fully_shard(net)
    backup = {}
    for name, p in model.named_parameters():
        backup[name] = p.data.clone()
    run(model)
    for name, p in model.named_parameters():
        p.data.copy_(backup[name])
""",
        ),
    ),
)
