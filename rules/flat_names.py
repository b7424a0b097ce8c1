"""`named_parameters()` where FSDP1 ran with `use_orig_params=False`: other names, and more."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import (
    attributes,
    is_summoned,
    model_of,
    use_orig_params,
)
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in


def survey(facts: Facts) -> Iterator[Finding]:
    """Look at each place that takes the names of a model's parameters."""
    for module, node in attributes(facts, {"named_parameters"}):
        call = module.parents[node]
        if not isinstance(call, ast.Call) or call.func is not node:
            continue
        whose = model_of(facts, node) | facts.sharded.models(module, call)
        known = {use_orig_params(facts, wrapped): wrapped for wrapped in whose}
        if not known or set(known) == {True} or is_summoned(facts, module, node):
            continue
        if not _are_names_read(module, call):
            continue
        may = "" if set(known) == {False} else "may have "
        yield finding_at(
            RULE,
            module,
            call,
            f"without use_orig_params=True FSDP1 {may}named one flat parameter a unit here, "
            "`_flat_param`; these are the names of all parameters now, and tests of them hold",
            tier=Tier.NOTE,
            models=facts.models(known.values()),
        )


def _are_names_read(module: Module, call: ast.Call) -> bool:
    """Whether something reads the names, and not the parameters alone."""
    parent = module.parents[call]
    if not isinstance(parent, ast.For | ast.AsyncFor | ast.comprehension):
        return True
    if not isinstance(parent.target, ast.Tuple) or not parent.target.elts:
        return True
    name = parent.target.elts[0]
    if not isinstance(name, ast.Name):
        return True
    return any(
        isinstance(node, ast.Name) and node.id == name.id and isinstance(node.ctx, ast.Load)
        for node in nodes_in(module.scope(call))
    )


RULE = Rule(
    code="FSDP412",
    name="flat-names",
    summary="names of parameters, where FSDP1 had flat ones",
    why=(
        "With `use_orig_params=False`, the default, FSDP1 had one flat parameter a unit, and gave "
        "its name.  FSDP2's parameters are the model's own: what is printed, kept or chosen by "
        "name is another thing."
    ),
    fix_safety="There is no fix: a note says where names are read.",
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/fsdp.html",
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def main(net):
    model = FSDP(net)
    for name, parameter in model.named_parameters():
        print(name, parameter.requires_grad)
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def main(net):
    model = fully_shard(net)
    for name, parameter in model.named_parameters():
        print(name, parameter.requires_grad)
""",
        ),
    ),
)
