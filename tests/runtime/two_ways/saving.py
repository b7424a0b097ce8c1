"""State dicts of models and optimizers, in every form FSDP1 had."""

from __future__ import annotations

import itertools
import tempfile
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn

from two_ways.toys import (
    Block,
    Mixed,
    Net,
    Record,
    Table,
    adamw,
    batches,
    copied,
    train,
    whole,
    whole_optim,
)

CPU = torch.device("cpu")


def _model(ns: Any, net: nn.Module | None = None, **kwargs: Any) -> nn.Module:
    policy = ns.ModuleWrapPolicy({Block, Table})
    return ns.fully_shard_from_fsdp1(
        net or Net(), auto_wrap_policy=policy, **{"device_id": CPU, **kwargs}
    )


def _trained(ns: Any, **kwargs: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = _model(ns, **kwargs)
    optim = adamw(model)
    train(ns, model, optim)
    return model, optim


# --------------------------------------------------------------------------------------- models
def default(ns: Any) -> Record:
    """No context: whole tensors on every rank, and they are no views of the weights."""
    model, optim = _trained(ns)
    state = ns.model_state_dict(model)
    before = copied(state)
    train(ns, model, optim, steps=1)
    return {"state": dict(state), "unchanged": not _differ(before, state)}


def _differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(value, other[name]) for name, value in one.items())


def full_in_every_way(ns: Any) -> Record:
    model, _ = _trained(ns)
    found: Record = {}
    for offload, first in itertools.product((False, True), repeat=2):
        config = ns.FullStateDictConfig(offload_to_cpu=offload, rank0_only=first)
        with ns.state_dict_type(model, ns.StateDictType.FULL_STATE_DICT, config):
            found[f"{offload} {first}"] = dict(ns.model_state_dict(model))
    return found


def full_with_buffers(ns: Any) -> Record:
    """Buffers in their original dtype; none of them on other ranks with `rank0_only`."""
    precision = ns.MixedPrecision(torch.bfloat16, buffer_dtype=torch.bfloat16)
    model = _model(ns, Mixed(), mixed_precision=precision)
    train(ns, model)
    config = ns.FullStateDictConfig(rank0_only=True)
    with ns.state_dict_type(model, ns.StateDictType.FULL_STATE_DICT, config):
        first = dict(ns.model_state_dict(model))
    return {"all": whole(ns, model), "first": first}


def full_with_ignored(ns: Any) -> Record:
    """What is not sharded is there on all ranks, even with `rank0_only`."""
    net = Net()
    model = _model(ns, net, ignored_states=[net.head])
    config = ns.FullStateDictConfig(rank0_only=True)
    with ns.state_dict_type(model, ns.StateDictType.FULL_STATE_DICT, config):
        return {"first": dict(ns.model_state_dict(model)), "all": None}


def full_with_prefix(ns: Any) -> Record:
    model = _model(ns, Mixed(), mixed_precision=ns.MixedPrecision(buffer_dtype=torch.bfloat16))
    with torch.no_grad():
        model(batches(1)[0][0])
    return dict(ns.model_state_dict(model, prefix="net."))


def full_of_a_part(ns: Any) -> Record:
    model, _ = _trained(ns)
    return dict(ns.model_state_dict(model.blocks[1]))


def full_of_a_larger_module(ns: Any) -> Record:
    outer = nn.ModuleDict({"trunk": _model(ns), "rest": nn.Linear(3, 3)})
    return dict(ns.model_state_dict(outer))


def full_after_evaluation(ns: Any) -> Record:
    """A no-grad forward leaves weights gathered; they are saved all the same."""
    strategy = ns.ShardingStrategy.SHARD_GRAD_OP
    model = _model(
        ns, sharding_strategy=strategy, mixed_precision=ns.MixedPrecision(torch.bfloat16)
    )
    optim = adamw(model)
    train(ns, model, optim)
    model.eval()
    with torch.no_grad():
        model(batches(1)[0][0])
    return {"state": whole(ns, model), "optim": whole_optim(ns, model, optim)}


def full_tied(ns: Any) -> Record:
    model = ns.fully_shard_from_fsdp1(Net(tied=True), device_id=CPU)
    return whole(ns, model)


def full_no_shard(ns: Any) -> Record:
    model, optim = _trained(ns, sharding_strategy=ns.ShardingStrategy.NO_SHARD)
    config = ns.FullStateDictConfig(rank0_only=True)
    with ns.state_dict_type(model, ns.StateDictType.FULL_STATE_DICT, config):
        keys = list(ns.model_state_dict(model)) if dist.get_rank() == 0 else []
    return {"keys": keys, "state": whole(ns, model), "optim": whole_optim(ns, model, optim)}


def with_activation_checkpointing(ns: Any) -> Record:
    """The wrapper's prefix shows in no state dict."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    net = Net()
    for i in range(3):
        net.blocks[i] = checkpoint_wrapper(net.blocks[i])
    model = _model(ns, net)
    optim = adamw(model)
    record = train(ns, model, optim)
    other = _model(ns)
    ns.load_model_state_dict(other, whole(ns, model))
    return {**record, "loaded": whole(ns, other)}


def sharded(ns: Any) -> Record:
    """The shards hold the same values; FSDP1 with a mesh made DTensors of them, too."""
    mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),))
    model = _model(ns, device_mesh=mesh)
    train(ns, model)
    found = {}
    for offload in (False, True):
        config = ns.ShardedStateDictConfig(offload_to_cpu=offload)
        with ns.state_dict_type(model, ns.StateDictType.SHARDED_STATE_DICT, config):
            state = ns.model_state_dict(model)
        found[str(offload)] = copied(dict(state))
        found[f"{offload} local"] = [value.to_local().numel() for value in state.values()]
    found.pop("True local"), found.pop("False local")  # FSDP1 chunks its shards evenly
    return found


def loading_full(ns: Any) -> Record:
    source, target = _model(ns), _model(ns)
    state = whole(ns, source)
    kept = dict(state)
    result = ns.load_model_state_dict(target, state)
    return {
        "loaded": whole(ns, target),
        "result": [list(result[0]), list(result[1])],
        "untouched": list(kept) == list(state) and all(kept[k] is state[k] for k in kept),
        "training": train(ns, target),
    }


def loading_partly(ns: Any) -> Record:
    target = _model(ns)
    before = whole(ns, target)
    state = {name: value + 1 for name, value in before.items() if "up" not in name}
    state["stranger"] = torch.zeros(1)
    result = ns.load_model_state_dict(target, state, strict=False)
    refused = ""
    try:
        ns.load_model_state_dict(target, state)
    except RuntimeError as error:
        refused = type(error).__name__
    return {
        "missing": sorted(result.missing_keys),
        "unexpected": sorted(result.unexpected_keys),
        "refused": refused,
        "loaded": whole(ns, target),
    }


def loading_buffers(ns: Any) -> Record:
    precision = ns.MixedPrecision(torch.bfloat16, buffer_dtype=torch.bfloat16)
    model = _model(ns, Mixed(), mixed_precision=precision)
    state = {name: value * 3 for name, value in whole(ns, model).items()}
    ns.load_model_state_dict(model, state)
    return {"loaded": whole(ns, model), "training": train(ns, model)}


def loading_after_evaluation(ns: Any) -> Record:
    model = _model(ns, sharding_strategy=ns.ShardingStrategy.SHARD_GRAD_OP)
    state = {name: value * 2 for name, value in whole(ns, model).items()}
    with torch.no_grad():
        model(batches(1)[0][0])
    ns.load_model_state_dict(model, state)
    return {"loaded": whole(ns, model), "training": train(ns, model)}


def plain_modules(ns: Any) -> Record:
    """Modules that are not sharded: their own state dicts."""
    plain = nn.Linear(2, 2)
    parallel = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
    saved = {"plain": dict(ns.model_state_dict(plain)), "ddp": dict(ns.model_state_dict(parallel))}
    doubled = {name: value * 2 for name, value in saved["plain"].items()}
    result = ns.load_model_state_dict(plain, doubled)
    return {**copied(saved), "loaded": dict(ns.model_state_dict(plain)), "result": list(result[0])}


# ------------------------------------------------------------------------------------- settings
def settings(ns: Any) -> Record:
    """What is set, returned and restored."""
    model = _model(ns)
    kinds, seen = ns.StateDictType, []

    def note(found: Any) -> None:
        seen.append(found.state_dict_type.name)
        for config in (found.state_dict_config, found.optim_state_dict_config):
            seen.append([type(config).__name__, config.offload_to_cpu])
            seen.append(getattr(config, "rank0_only", None))

    note(ns.get_state_dict_type(model))
    note(ns.set_state_dict_type(model, kinds.SHARDED_STATE_DICT))
    note(ns.get_state_dict_type(model))
    full = ns.FullStateDictConfig(offload_to_cpu=True, rank0_only=True)
    with ns.state_dict_type(model, kinds.FULL_STATE_DICT, full):
        note(ns.get_state_dict_type(model))
        note(ns.get_state_dict_type(model.blocks[0]))
    note(ns.get_state_dict_type(nn.ModuleList([model])))
    try:
        ns.set_state_dict_type(model, kinds.SHARDED_STATE_DICT, full)
    except RuntimeError:
        seen.append("refused")
    return {"seen": seen}


# ----------------------------------------------------------------------------------- optimizers
def optim_full_in_every_way(ns: Any) -> Record:
    model, optim = _trained(ns)
    found: Record = {"default": copied(ns.optim_state_dict(model, optim))}
    for offload, first in itertools.product((False, True), repeat=2):
        config = ns.FullOptimStateDictConfig(offload_to_cpu=offload, rank0_only=first)
        kind = ns.StateDictType.FULL_STATE_DICT
        with ns.state_dict_type(model, kind, None, config):
            found[f"{offload} {first}"] = copied(ns.optim_state_dict(model, optim))
    return found


def optim_before_the_first_step(ns: Any) -> Record:
    """Nothing is initialised by looking."""
    model = _model(ns)
    optim = adamw(model)
    state = copied(ns.optim_state_dict(model, optim))
    return {"state": state, "training": train(ns, model, optim)}


def optim_given_state(ns: Any) -> Record:
    model, optim = _trained(ns)
    given = optim.state_dict()
    return {"state": copied(ns.optim_state_dict(model, optim, given, None))}


def optim_partly_used(ns: Any) -> Record:
    """Frozen parameters have no state; groups keep their settings."""
    net = Net()
    net.blocks[0].requires_grad_(False)
    model = _model(ns, net)
    groups = [
        {"params": [*model.head.parameters(), *model.norm.parameters()], "lr": 0.5},
        {"params": [*model.embed.parameters(), *model.blocks.parameters()], "betas": (0.8, 0.9)},
    ]
    optim = torch.optim.Adam(groups, lr=1e-3)
    train(ns, model, optim)
    state = whole_optim(ns, model, optim)
    other = torch.optim.Adam([dict(g, lr=0.1) for g in groups], lr=1e-3)
    other.load_state_dict(
        ns.optim_state_dict_to_load(model, other, ns.optim_state_dict(model, optim))
    )
    settings = [{k: v for k, v in g.items() if k != "params"} for g in other.param_groups]
    return {"state": state, "settings": settings, "loaded": whole_optim(ns, model, other)}


def _resumed(ns: Any, save: Any, make: Any = adamw) -> Record:
    """Train, carry weights and states over to another model by `save`, and train that one."""
    model = _model(ns)
    optim = make(model)
    train(ns, model, optim)
    torch.manual_seed(1)
    other = _model(ns)
    other_optim = make(other)
    ns.load_model_state_dict(other, whole(ns, model))
    other_optim.load_state_dict(save(model, optim, other, other_optim))
    return {
        "loaded": whole_optim(ns, other, other_optim),
        "training": train(ns, other, other_optim, seed=500),
    }


def resumed_full(ns: Any) -> Record:
    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        return ns.optim_state_dict_to_load(other, other_optim, ns.optim_state_dict(model, optim))

    return _resumed(ns, save)


def resumed_by_keywords(ns: Any) -> Record:
    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        state = ns.optim_state_dict(model=model, optim=optim)
        return ns.optim_state_dict_to_load(optim_state_dict=state, model=other, optim=other_optim)

    return _resumed(ns, save)


def resumed_momentum(ns: Any) -> Record:
    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        return ns.optim_state_dict_to_load(other, other_optim, ns.optim_state_dict(model, optim))

    return _resumed(ns, save, lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9))


def resumed_without_state(ns: Any) -> Record:
    """Plain SGD has none."""

    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        return ns.optim_state_dict_to_load(other, other_optim, ns.optim_state_dict(model, optim))

    return _resumed(ns, save, lambda m: torch.optim.SGD(m.parameters(), lr=0.1))


def resumed_sharded(ns: Any) -> Record:
    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        kind = ns.StateDictType.SHARDED_STATE_DICT
        with ns.state_dict_type(model, kind), ns.state_dict_type(other, kind):
            state = ns.optim_state_dict(model, optim)
            return ns.optim_state_dict_to_load(other, other_optim, state)

    return _resumed(ns, save)


def resumed_from_the_first_rank(ns: Any) -> Record:
    """`rank0_only` on both sides: the state travels."""

    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        config = ns.FullOptimStateDictConfig(rank0_only=True)
        kind = ns.StateDictType.FULL_STATE_DICT
        with ns.state_dict_type(model, kind, None, config):
            state = ns.optim_state_dict(model, optim)
        with ns.state_dict_type(other, kind, None, config):
            return ns.optim_state_dict_to_load(other, other_optim, state)

    return _resumed(ns, save)


def resumed_older_full(ns: Any) -> Record:
    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        state = ns.full_optim_state_dict(model, optim, rank0_only=False)
        return ns.shard_full_optim_state_dict(state, other, optim=other_optim)

    return _resumed(ns, save)


def resumed_older_scattered(ns: Any) -> Record:
    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        state = ns.full_optim_state_dict(model, optim)
        assert bool(state) == (dist.get_rank() == 0)
        return ns.scatter_full_optim_state_dict(state, other, optim=other_optim)

    return _resumed(ns, save)


def resumed_older_without_optimizer(ns: Any) -> Record:
    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        state = ns.full_optim_state_dict(model, optim, rank0_only=False)
        return ns.shard_full_optim_state_dict(state, other)

    return _resumed(ns, save)


def resumed_older_sharded(ns: Any) -> Record:
    def save(model: Any, optim: Any, other: Any, other_optim: Any) -> Any:
        state = ns.sharded_optim_state_dict(model, optim)
        return ns.flatten_sharded_optim_state_dict(state, other, other_optim)

    return _resumed(ns, save)


def rekeyed(ns: Any) -> Record:
    """From an unsharded model to a sharded one, and back."""
    kinds = __import__("torch.distributed.fsdp", fromlist=["_"]).fully_sharded_data_parallel
    key = getattr(ns, "OptimStateKeyType", None) or kinds.OptimStateKeyType
    plain = Net()
    plain_optim = adamw(plain)
    plain(torch.arange(10).view(2, 5)).sum().backward()
    plain_optim.step()
    by_number = plain_optim.state_dict()
    by_name = ns.rekey_optim_state_dict(by_number, key.PARAM_NAME, plain)
    back = ns.rekey_optim_state_dict(by_name, key.PARAM_ID, plain, optim=plain_optim)
    model = _model(ns)
    optim = adamw(model)
    optim.load_state_dict(ns.shard_full_optim_state_dict(by_name, model, optim=optim))
    return {
        "names": copied(by_name),
        "numbers": copied(back),
        "same": ns.rekey_optim_state_dict(by_name, key.PARAM_NAME, plain) is by_name,
        "loaded": whole_optim(ns, model, optim),
    }


def distributed_checkpoint(ns: Any) -> Record:
    """Saved and read with `torch.distributed.checkpoint`, model and optimizer."""
    model, optim = _trained(ns)
    folder = [tempfile.mkdtemp()]
    dist.broadcast_object_list(folder)
    kind = ns.StateDictType.SHARDED_STATE_DICT
    with ns.state_dict_type(model, kind):
        saved = {"model": ns.model_state_dict(model), "optim": ns.optim_state_dict(model, optim)}
        dcp.save(saved, storage_writer=dcp.FileSystemWriter(folder[0]))
    torch.manual_seed(5)
    other = _model(ns)
    other_optim = adamw(other)
    with ns.state_dict_type(other, kind):
        state = {"model": ns.model_state_dict(other)}
        dcp.load(state, storage_reader=dcp.FileSystemReader(folder[0]))
        ns.load_model_state_dict(other, state["model"])
        read = ns.load_sharded_optimizer_state_dict(
            state["model"], "optim", dcp.FileSystemReader(folder[0])
        )
        other_optim.load_state_dict(ns.optim_state_dict_to_load(other, other_optim, read["optim"]))
    return {
        "loaded": whole(ns, other),
        "optim": whole_optim(ns, other, other_optim),
        "training": train(ns, other, other_optim),
    }
