"""Four ranks: hybrid strategies, groups, meshes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from two_ways.compare import close, counted
from two_ways.toys import Block, Mixed, Net, Record, Table, batches, loss_of, train, whole

CPU = torch.device("cpu")
WITHIN, ACROSS = ([0, 1], [2, 3]), ([0, 2], [1, 3])


@cache
def _groups() -> tuple[dist.ProcessGroup, dist.ProcessGroup]:
    """(shard group, replicate group) of this rank."""
    shard = [dist.new_group(ranks) for ranks in WITHIN]
    replicate = [dist.new_group(ranks) for ranks in ACROSS]
    rank = dist.get_rank()
    return shard[rank // 2], replicate[rank % 2]


@cache
def _mesh(named: bool = True) -> Any:
    names = ("replicate", "shard") if named else None
    return dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=names)


@contextmanager
def _two_devices_per_node() -> Iterator[None]:
    count = torch.cpu.device_count
    torch.cpu.device_count = lambda: 2
    try:
        yield
    finally:
        torch.cpu.device_count = count


def _model(ns: Any, strategy: str, net: Callable[[], nn.Module] = Net, **kwargs: Any) -> nn.Module:
    return ns.fully_shard_from_fsdp1(
        net(),
        sharding_strategy=ns.ShardingStrategy[strategy],
        auto_wrap_policy=ns.ModuleWrapPolicy({Block, Table}),
        device_id=CPU,
        **kwargs,
    )


def _observed(ns: Any, model: nn.Module) -> Record:
    record = train(ns, model, window=2, accumulate=True)
    ids, targets = batches(1)[0]
    with counted() as counts:
        loss_of(model(ids), targets).backward()
    record["gathers and reductions"] = [counts["gather"], counts["reduce-scatter"]]
    return record


def hybrid_by_mesh(ns: Any) -> Record:
    return _observed(ns, _model(ns, "HYBRID_SHARD", device_mesh=_mesh()))


def hybrid_by_unnamed_mesh(ns: Any) -> Record:
    return _observed(ns, _model(ns, "HYBRID_SHARD", device_mesh=_mesh(named=False)))


def hybrid_by_groups(ns: Any) -> Record:
    return _observed(ns, _model(ns, "HYBRID_SHARD", process_group=_groups()))


def hybrid_keeping_weights(ns: Any) -> Record:
    return _observed(ns, _model(ns, "_HYBRID_SHARD_ZERO2", process_group=_groups()))


def hybrid_by_node(ns: Any) -> Record:
    with _two_devices_per_node():
        model = _model(ns, "HYBRID_SHARD")
    return _observed(ns, model)


def hybrid_synchronised(ns: Any) -> Record:
    torch.manual_seed(dist.get_rank())
    model = _model(ns, "HYBRID_SHARD", Mixed, process_group=_groups(), sync_module_states=True)
    return train(ns, model)


def hybrid_state_dicts(ns: Any) -> Record:
    """`rank0_only` means the first rank of every shard group."""
    model = _model(ns, "HYBRID_SHARD", device_mesh=_mesh())
    config = ns.FullStateDictConfig(rank0_only=True)
    with ns.state_dict_type(model, ns.StateDictType.FULL_STATE_DICT, config):
        first = dict(ns.model_state_dict(model))
    with ns.summon_full_params(model, rank0_only=True, writeback=False):
        shape = tuple(model.head.weight.shape) if dist.get_rank() in (0, 2) else None
    return {"first": first, "shape": shape, "all": whole(ns, model)}


def one_group_of_two(ns: Any) -> Record:
    """Two independent models, each on two ranks."""
    return _observed(ns, _model(ns, "FULL_SHARD", process_group=_groups()[0]))


def one_group_of_two_unsharded(ns: Any) -> Record:
    return train(ns, _model(ns, "NO_SHARD", process_group=_groups()[0]))


def one_group_of_two_synchronised(ns: Any) -> Record:
    torch.manual_seed(dist.get_rank())
    group = _groups()[1]
    return train(ns, _model(ns, "FULL_SHARD", process_group=group, sync_module_states=True))


def flat_mesh_of_two(ns: Any) -> Record:
    return _observed(ns, _model(ns, "FULL_SHARD", device_mesh=_mesh()["shard"]))


def unsharded_mesh_of_two(ns: Any) -> Record:
    return train(ns, _model(ns, "NO_SHARD", device_mesh=_mesh()["shard"]))


def first_dimension_of_a_mesh(ns: Any) -> Record:
    """A strategy without replicas uses the first dimension only."""
    return train(ns, _model(ns, "FULL_SHARD", device_mesh=_mesh()))


@close(1e-5)
def hybrid_clipped(ns: Any) -> Record:
    model = _model(ns, "HYBRID_SHARD", device_mesh=_mesh())
    norms: list[dict[str, int]] = []

    def clip() -> Any:
        with counted() as counts:
            norm = ns.clip_grad_norm_(model, 0.1)
        norms.append(dict(counts))
        return norm

    return {**train(ns, model, before_step=clip), "collectives": norms}


@close(1e-5)
def all_four(ns: Any) -> Record:
    """Sums of four terms may be added in another order."""
    model = _model(ns, "FULL_SHARD")
    return train(ns, model, torch.optim.SGD(model.parameters(), lr=0.1))


def hybrid_optimizer_round_trip(ns: Any) -> Record:
    model, other = (_model(ns, "HYBRID_SHARD", device_mesh=_mesh()) for _ in range(2))
    optim = torch.optim.AdamW(model.parameters(), lr=0.01)
    train(ns, model, optim)
    ns.load_model_state_dict(other, whole(ns, model))
    other_optim = torch.optim.AdamW(other.parameters(), lr=0.01)
    states = ns.optim_state_dict(model, optim)
    other_optim.load_state_dict(ns.optim_state_dict_to_load(other, other_optim, states))
    return train(ns, other, other_optim)
