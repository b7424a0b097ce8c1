"""One rank: FSDP1 switched to `NO_SHARD`, FSDP2 shards into one part."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from two_ways.toys import Block, Mixed, Net, Record, Table, train, whole


def _model(ns: Any, net: nn.Module | None = None, **kwargs: Any) -> nn.Module:
    policy = ns.ModuleWrapPolicy({Block, Table})
    return ns.fully_shard_from_fsdp1(
        net or Net(), auto_wrap_policy=policy, device_id=torch.device("cpu"), **kwargs
    )


def every_strategy(ns: Any) -> Record:
    names = ("FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD")
    return {
        name: train(ns, _model(ns, sharding_strategy=ns.ShardingStrategy[name])) for name in names
    }


def low_precision(ns: Any) -> Record:
    precision = ns.MixedPrecision(torch.bfloat16, torch.float32, torch.bfloat16)
    return train(ns, _model(ns, Mixed(), mixed_precision=precision))


def group_given(ns: Any) -> Record:
    return train(ns, _model(ns, process_group=dist.new_group([0])), window=2, accumulate=True)


def clipped(ns: Any) -> Record:
    model = _model(ns)
    return train(ns, model, before_step=lambda: ns.clip_grad_norm_(model, 0.1, float("inf")))


def summoned(ns: Any) -> Record:
    model = _model(ns)
    with ns.summon_full_params(model), torch.no_grad():
        model.head.weight.mul_(2)
    kept = whole(ns, model)
    with ns.summon_full_params(model, writeback=False), torch.no_grad():
        model.head.weight.sum()
    return {"kept": kept, "training": train(ns, model)}


def state_dicts(ns: Any) -> Record:
    model = _model(ns)
    record = train(ns, model)
    config = ns.FullStateDictConfig(offload_to_cpu=True, rank0_only=True)
    with ns.state_dict_type(model, ns.StateDictType.FULL_STATE_DICT, config):
        return {**record, "first": dict(ns.model_state_dict(model))}
