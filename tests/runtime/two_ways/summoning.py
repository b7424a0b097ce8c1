"""Whole parameters for a while: what is seen inside, and what is left behind."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from two_ways.toys import Block, Net, Record, adamw, batches, loss_of, train, whole

CPU = torch.device("cpu")


def _model(ns: Any, **kwargs: Any) -> nn.Module:
    policy = ns.ModuleWrapPolicy({Block})
    return ns.fully_shard_from_fsdp1(Net(), auto_wrap_policy=policy, device_id=CPU, **kwargs)


def _seen(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name.replace("_fsdp_wrapped_module.", ""): param.detach().clone()
        for name, param in model.named_parameters()
    }


def _backward(model: nn.Module) -> None:
    ids, targets = batches(1)[0]
    loss_of(model(ids), targets).backward()


def reading(ns: Any) -> Record:
    model = _model(ns)
    with ns.summon_full_params(model, writeback=False):
        first = _seen(model)
        requires = [p.requires_grad for p in model.parameters()]
    return {"first": first, "requires": requires, "training": train(ns, model)}


def reading_after_evaluation(ns: Any) -> Record:
    model = _model(ns, sharding_strategy=ns.ShardingStrategy.SHARD_GRAD_OP)
    with torch.no_grad():
        model(batches(1)[0][0])
    with ns.summon_full_params(model, writeback=False):
        return _seen(model)


def reading_low_precision(ns: Any) -> Record:
    precision = ns.MixedPrecision(torch.bfloat16, buffer_dtype=torch.bfloat16)
    model = _model(ns, mixed_precision=precision)
    train(ns, model, steps=1)
    with ns.summon_full_params(model):
        return _seen(model)


def reading_no_shard(ns: Any) -> Record:
    model = _model(ns, sharding_strategy=ns.ShardingStrategy.NO_SHARD)
    with ns.summon_full_params(model):
        return _seen(model)


def editing(ns: Any) -> Record:
    model = _model(ns)
    optim = adamw(model)
    first = train(ns, model, optim)
    with ns.summon_full_params(model), torch.no_grad():
        model.head.weight.mul_(0.5)
        model.blocks[1].up.bias.fill_(3.0)
        nn.init.orthogonal_(model.embed.weight)
    return {"first": first, "edited": whole(ns, model), "then": train(ns, model, optim)}


def editing_dropped(ns: Any) -> Record:
    model = _model(ns)
    with ns.summon_full_params(model, writeback=False), torch.no_grad():
        model.head.weight.zero_()
        inside = _seen(model)
    return {"inside": inside, "after": whole(ns, model), "training": train(ns, model)}


def editing_by_rank(ns: Any) -> Record:
    """Each rank keeps its own part of its own edit."""
    model = ns.fully_shard_from_fsdp1(nn.Linear(4, 4, bias=False), device_id=CPU)
    with ns.summon_full_params(model), torch.no_grad():
        model.weight.fill_(float(dist.get_rank()))
    return whole(ns, model)


def kept_on_errors(ns: Any) -> Record:
    """An exception leaves the context; what was edited is kept, and training goes on."""
    model = _model(ns)
    try:
        with ns.summon_full_params(model), torch.no_grad():
            model.norm.weight.fill_(2.0)
            raise KeyError
    except KeyError:
        pass
    return {"state": whole(ns, model), "training": train(ns, model)}


def first_rank_only(ns: Any) -> Record:
    model = _model(ns)
    with ns.summon_full_params(model, rank0_only=True, writeback=False):
        inside = _seen(model) if dist.get_rank() == 0 else {}
    return {"inside": inside, "training": train(ns, model)}


def offloaded(ns: Any) -> Record:
    model = _model(ns)
    with ns.summon_full_params(model, rank0_only=True, writeback=False, offload_to_cpu=True):
        return _seen(model) if dist.get_rank() == 0 else {}


def offloaded_edit(ns: Any) -> Record:
    model = _model(ns)
    with ns.summon_full_params(model, offload_to_cpu=True), torch.no_grad():
        model.blocks[0].down.weight.add_(1.0)
    return whole(ns, model)


def gradients(ns: Any) -> Record:
    model = _model(ns)
    _backward(model)
    with ns.summon_full_params(model, with_grads=True):
        grads = {
            name.replace("_fsdp_wrapped_module.", ""): p.grad.clone()
            for name, p in model.named_parameters()
            if p.grad is not None
        }
        for p in model.parameters():
            p.grad.mul_(2)
    adamw(model).step()
    return {"grads": grads, "state": whole(ns, model)}


def one_unit(ns: Any) -> Record:
    """`recurse=False` summons the root's own parameters only."""
    model = _model(ns)
    with ns.summon_full_params(model, recurse=False), torch.no_grad():
        whole_ones = sorted(name for name, p in _seen(model).items() if p.ndim == 2)
        model.norm.bias.fill_(1.0)
        own = {"head": model.head.weight.clone(), "embed": model.embed.weight.clone()}
    names = [name for name in whole_ones if "blocks" not in name]
    return {"own": own, "names": names, "state": whole(ns, model)}


def inside_a_plain_module(ns: Any) -> Record:
    """The module itself is not a unit, but it has some."""
    outer = nn.Sequential(nn.Linear(3, 3), _model(ns))
    with ns.summon_full_params(outer), torch.no_grad():
        outer[1].head.weight.zero_()
        outer[0].weight.zero_()
    return {"state": whole(ns, outer[1]), "plain": outer[0].weight.detach().clone()}


def no_units_at_all(ns: Any) -> Record:
    plain = nn.Linear(3, 3)
    with ns.summon_full_params(plain), torch.no_grad():
        plain.weight.zero_()
    return {"weight": plain.weight.detach()}


def tied_weights(ns: Any) -> Record:
    model = ns.fully_shard_from_fsdp1(Net(tied=True), device_id=CPU)
    with ns.summon_full_params(model), torch.no_grad():
        same = model.head.weight is model.embed.weight
        model.head.weight.mul_(2)
    return {"same": same, "state": whole(ns, model), "training": train(ns, model)}


def forward_inside(ns: Any) -> Record:
    """The whole model, called inside; then training goes on."""
    model = _model(ns)
    ids, _ = batches(1)[0]
    with ns.summon_full_params(model, writeback=False), torch.no_grad():
        outputs = [model(ids), model(ids)]
    return {"outputs": outputs, "training": train(ns, model)}


def parts_inside(ns: Any) -> Record:
    """Calls that are no forward of a unit."""
    model = _model(ns)
    ids, _ = batches(1)[0]
    with ns.summon_full_params(model, writeback=False):
        return {"hidden": model.norm(model.embed(ids)).detach()}


def training_inside(ns: Any) -> Record:
    """A forward that records gradients, inside."""
    model = _model(ns)
    optim = torch.optim.SGD(model.parameters(), lr=0.5)
    with ns.summon_full_params(model):
        pass
    _backward(model)
    optim.step()
    return whole(ns, model)


def forward_inside_low_precision(ns: Any) -> Record:
    """Forwards of units compute in low precision. (What FSDP1 trained afterwards was wrong.)"""
    precision = ns.MixedPrecision(torch.bfloat16, torch.bfloat16)
    model = _model(ns, mixed_precision=precision)
    ids, _ = batches(1)[0]
    with ns.summon_full_params(model, writeback=False), torch.no_grad():
        return {"outputs": [model(ids), model(ids)]}


def float_inputs_inside_low_precision(ns: Any) -> Record:
    precision = ns.MixedPrecision(torch.bfloat16)
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    policy = ns.ModuleWrapPolicy({nn.Linear})
    model = ns.fully_shard_from_fsdp1(
        net, auto_wrap_policy=policy, mixed_precision=precision, device_id=CPU
    )
    x = torch.randn(3, 4)
    with torch.no_grad():
        outside = model(x)
        with ns.summon_full_params(model, writeback=False):
            return {"outside": outside, "inside": model(x)}
