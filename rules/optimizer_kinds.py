"""Optimizers that don't take DTensors, or that mean something else by them.

https://docs.pytorch.org/docs/stable/optim.html

Element-wise optimizers train bit for bit as before.  Those that look at a whole parameter saw
this rank's flat shard under FSDP1 and see the parameter under FSDP2; a few have no DTensor form.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.values import Instance, Result, Wrapped
from fsdp_migrate.findings.arguments import bind
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.queries.parameters import called, calls, owners
from fsdp_migrate.rule.rule import Example, Facts, Rule, finding_at, no_uses
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

REFUSED = {
    "torch.optim.Rprop": "Rprop",
    "torch.optim.Adafactor": "Adafactor",
}
LAYER_WISE = ("lamb", "lars", "shampoo", "muon", "soap", "novograd", "adafactor", "came")
MESSAGE = (
    "it looks at whole parameters: under FSDP1 those were this rank's flat shards, under FSDP2 "
    "they are the parameters (a LAMB of tensors: 1e-3 apart after three steps, FSDP2 right)"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at what is built over the parameters of FSDP models."""
    for module, call in calls(facts):
        if not facts.order.makes_optimizer(call):
            continue
        models = _models(facts, call)
        if models:
            yield from _settle(facts, module, call, facts.units(models))


def _models(facts: Facts, call: ast.Call) -> frozenset[Wrapped]:
    """The FSDP models whose parameters the optimizer gets, before or after they are wrapped."""
    found: set[Wrapped] = set()
    for argument in [*call.args, *(k.value for k in call.keywords)]:
        found |= owners(facts, argument)
    held = facts.order.holds(call) or frozenset()
    for site, fact in facts.solver.wraps.items():
        if Wrapped(site) in held or held & fact.inner:
            found.add(Wrapped(site))
    return frozenset(found)


def _settle(
    facts: Facts, module: Module, call: ast.Call, units: frozenset[str]
) -> Iterator[Finding]:
    names = called(facts, call)
    for name in sorted(names & REFUSED.keys()):
        yield finding_at(
            RULE,
            module,
            call,
            f"{REFUSED[name]} cannot update DTensors (torch 2.13 raises in the first step): choose "
            "another optimizer, or update `p.to_local()` yourself",
            tier=Tier.MANUAL,
            units=units,
        )
    if "torch.optim.SGD" in names:
        yield from _fused(module, call, units)
        return
    symbols = {short(a.symbol).lower() for a in facts.value(call) if isinstance(a, Result)}
    if not names & REFUSED.keys() and any(w in s for s in symbols for w in LAYER_WISE):
        yield finding_at(RULE, module, call, MESSAGE, tier=Tier.NOTE, units=units)
    for atom in facts.value(call):
        if isinstance(atom, Instance):
            yield from _own(facts, module, call, atom.cls, units)


def _fused(module: Module, call: ast.Call, units: frozenset[str]) -> Iterator[Finding]:
    """SGD(..., fused=True), which has no rule for DTensors."""
    fused = next((k for k in call.keywords if k.arg == "fused"), None)
    if fused is None or (isinstance(fused.value, ast.Constant) and not fused.value.value):
        return
    if not isinstance(fused.value, ast.Constant):
        yield finding_at(
            RULE,
            module,
            fused.value,
            "SGD(fused=True) cannot update DTensors (torch 2.13 raises): see that this is False",
            tier=Tier.NOTE,
            units=units,
        )
        return
    arguments = bind(module, call)
    arguments.drop("fused")
    yield finding_at(
        RULE,
        module,
        call,
        "fused SGD cannot update DTensors (torch 2.13 raises): fused goes; the other kernel may "
        "round the last bit otherwise",
        tier=Tier.NATIVE,
        safety=Safety.UNSAFE,
        edits=[arguments.edit()],
        units=units,
    )


def _own(
    facts: Facts, module: Module, call: ast.Call, cls: Site, units: frozenset[str]
) -> Iterator[Finding]:
    """An optimizer of the program's own that takes norms of parameters in `step`."""
    site = facts.solver.method(cls, "step")
    if site is None:
        return
    info = facts.solver.functions[site]
    asked = {
        node.func.attr
        for node in ast.walk(info.node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    if not asked & {"norm", "vector_norm", "mean", "var", "std", "svd", "qr", "matmul"}:
        return
    more = ""
    if asked & {"item", "tolist"}:
        more = (
            ".  `.item()` straight on a norm gives this rank's part, and every rank goes its own "
            "way: take `.full_tensor().item()`"
        )
    yield finding_at(
        RULE, module, call, MESSAGE + more, tier=Tier.NOTE, safety=Safety.UNSAFE, units=units
    )


RULE = Rule(
    code="FSDP505",
    name="optimizer-kinds",
    summary="optimizers that look at whole parameters, or take no DTensors",
    why=(
        "FSDP2's parameters are DTensors.  Element-wise optimizers don't notice; others compute "
        "something else, or raise."
    ),
    fix_safety=(
        "Unsafe: SGD without `fused` runs another kernel of the same update, which may round "
        "otherwise."
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/optim.html",
        "torch/distributed/tensor/_ops/_pointwise_ops.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(model):
    model = FSDP(model)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def build(model):
    fully_shard(model)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)
""",
        ),
    ),
)
