"""Optimizers that don't take DTensors, or that mean something else by them.

https://docs.pytorch.org/docs/stable/optim.html

Element-wise optimizers train bit for bit as before.  Those that look at a whole parameter saw
this rank's flat shard under FSDP1 and see the parameter under FSDP2; a few have no DTensor form.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.arguments import bind
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.mixed_lists import is_mixed, parameters_given
from fsdp_migrate.rule.queries.optimizers import (
    keeps_list,
    library_classes,
    optimizers,
    own_steps,
)
from fsdp_migrate.rule.queries.parameters import called, is_summoned
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

REFUSED = {
    "torch.optim.Rprop": "Rprop",
    "torch.optim.Adafactor": "Adafactor",
    "torch.optim.LBFGS": "LBFGS",
}
# Libraries whose optimizers run kernels of their own on the memory of a tensor.
OWN_KERNELS = frozenset({"apex", "bitsandbytes", "colossalai", "deepspeed", "transformer_engine"})
# Libraries whose optimizers take DTensors.
TAKING_DTENSORS = frozenset({"torch", "torchao"})
# Classes of other libraries, by their own names: several libraries have each of them.
LAYER_WISE = frozenset(
    {
        "AdaFactor", "Adafactor", "CAME", "DistributedFusedLAMB", "DistributedShampoo", "FusedLAMB",
        "FusedMixedPrecisionLamb", "FusedNovoGrad", "LAMB", "LAMB8bit", "LAMB32bit", "LARS",
        "LARS8bit", "LARS32bit", "Lamb", "Lars", "Muon", "NovoGrad", "NvNovoGrad", "PytorchLARS",
        "SOAP", "Shampoo", "SingleDeviceMuon", "SingleDeviceMuonWithAuxAdam", "MuonWithAuxAdam",
    }
)  # fmt: skip
WHOLE = frozenset({"matmul", "mean", "norm", "qr", "std", "svd", "var", "vector_norm"})
MESSAGE = (
    "it looks at whole parameters: under FSDP1 those were this rank's flat shards, under FSDP2 "
    "they are the parameters, which is what it is made for"
)
# What the parameters are that something of a library is given, and what to see to.
AS_DTENSORS = (
    "DTensors now instead of flat shards: see in its source that it updates them element by "
    "element, by PyTorch's own operations; kernels of its own, norms, `.item()`, `.view(-1)` or "
    "plain tensors beside them fail, or mean something else"
)
AS_COPIES = (
    "whole copies of the parameters now: see in its source that it copies them too, and doesn't "
    "keep the parameters themselves"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at what is built over the parameters of FSDP models."""
    for optimizer in optimizers(facts):
        if optimizer.models:
            units = facts.models(optimizer.models)
            yield from _optimizer(facts, optimizer.module, optimizer.call, units)


def _optimizer(
    facts: Facts, module: Module, call: ast.Call, units: frozenset[str]
) -> Iterator[Finding]:
    """What is said of an optimizer by its class and its arguments."""
    names = called(facts, call)
    for name in sorted(names & REFUSED.keys()):
        yield finding_at(
            RULE,
            module,
            call,
            f"{REFUSED[name]} cannot update DTensors (torch 2.13 raises): choose another "
            "optimizer, or update `p.to_local()` yourself",
            tier=Tier.MANUAL,
            models=units,
        )
    if "torch.optim.SGD" in names:
        given = parameters_given(call)
        if given is None or not is_mixed(facts, module, given):  # where foreach goes as well
            yield from _fused(module, call, units)
        return
    classes = library_classes(facts, call)
    foreign = sorted(c for c in classes if c.partition(".")[0] not in TAKING_DTENSORS)
    foreign = foreign if keeps_list(facts, call) else []
    if foreign and foreign[0].partition(".")[0] in OWN_KERNELS:
        yield _own_kernels(module, call, foreign[0], units)
    elif not names & REFUSED.keys() and LAYER_WISE & set(map(short, classes)):
        yield finding_at(RULE, module, call, MESSAGE, tier=Tier.NOTE, models=units)
    elif foreign:
        whole = is_summoned(facts, module, call)
        yield _unknown(module, call, AS_COPIES if whole else AS_DTENSORS, foreign[0], units)
    for step in own_steps(facts, call):
        yield from _own(module, call, step, units)


def _own_kernels(module: Module, call: ast.Call, name: str, units: frozenset[str]) -> Finding:
    """An optimizer whose kernels want plain tensors."""
    return finding_at(
        RULE,
        module,
        call,
        f"`{name}` runs kernels of its own on the memory of plain tensors, which a DTensor's is "
        "not: take one of torch.optim (`fused=True`), or of torchao for states in 8 bits",
        tier=Tier.MANUAL,
        models=units,
    )


def _unknown(
    module: Module, call: ast.Call, given: str, name: str, units: frozenset[str]
) -> Finding:
    """Something of a library that is given the parameters."""
    return finding_at(
        RULE,
        module,
        call,
        f"`{name}` is given {given}",
        tier=Tier.NOTE,
        safety=Safety.UNSAFE,
        models=units,
    )


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
            models=units,
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
        models=units,
    )


def _own(module: Module, call: ast.Call, step: ast.AST, units: frozenset[str]) -> Iterator[Finding]:
    """An optimizer of the program's own that takes norms of parameters in its `step`."""
    asked = {
        node.func.attr
        for node in nodes_in(step)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    if not asked & WHOLE:
        return
    more = ""
    if asked & {"item", "tolist"}:
        more = (
            ".  `.item()` straight on a norm gives this rank's part, and every rank goes its own "
            "way: take `.full_tensor().item()`"
        )
    yield finding_at(
        RULE, module, call, MESSAGE + more, tier=Tier.NOTE, safety=Safety.UNSAFE, models=units
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
    left=(
        "Optimizers with kernels of their own, or of the program's own with norms: take one of "
        "torch.optim, or compute with p.to_local() and put norms together by full_tensor()."
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
