"""Training programs: strategies, precision, policies, nesting. Compared bit by bit."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from two_ways.compare import close, counted
from two_ways.toys import (
    Attention,
    Block,
    Deep,
    Mixed,
    Net,
    Record,
    Table,
    batches,
    loss_of,
    train,
    whole,
)

CPU = torch.device("cpu")


def _blocks(ns: Any, **kwargs: Any) -> nn.Module:
    policy = ns.ModuleWrapPolicy({Block})
    return ns.fully_shard_from_fsdp1(Net(), auto_wrap_policy=policy, **{"device_id": CPU, **kwargs})


def _mixed(ns: Any, precision: Any, **kwargs: Any) -> nn.Module:
    kwargs = {"auto_wrap_policy": ns.ModuleWrapPolicy({Table}), **kwargs}
    return ns.fully_shard_from_fsdp1(Mixed(), mixed_precision=precision, device_id=CPU, **kwargs)


def _counting(ns: Any, model: nn.Module, **kwargs: Any) -> Record:
    """Train, and count the collectives of one more forward and backward, and of an evaluation."""
    record = train(ns, model, **kwargs)
    (ids, targets), (more, _) = batches(2, seed=7)
    with counted() as counts:
        loss_of(model(ids), targets).backward()
    record["collectives"] = dict(sorted(counts.items()))
    with counted() as counts, torch.no_grad():
        record["evaluated"] = model(more)
    record["collectives of evaluation"] = dict(counts)
    return record


# ------------------------------------------------------------------------------------ strategies
def default_arguments(ns: Any) -> Record:
    return train(ns, ns.fully_shard_from_fsdp1(Net(), device_id=CPU))


def full_shard(ns: Any) -> Record:
    strategy = ns.ShardingStrategy.FULL_SHARD
    return _counting(ns, _blocks(ns, sharding_strategy=strategy))


def shard_grad_op(ns: Any) -> Record:
    strategy = ns.ShardingStrategy.SHARD_GRAD_OP
    return _counting(ns, _blocks(ns, sharding_strategy=strategy))


def no_shard(ns: Any) -> Record:
    return train(ns, _blocks(ns, sharding_strategy=ns.ShardingStrategy.NO_SHARD))


def flat_parameters(ns: Any) -> Record:
    return _counting(ns, _blocks(ns, use_orig_params=False))


def positional_arguments(ns: Any) -> Record:
    strategy, offload = ns.ShardingStrategy.SHARD_GRAD_OP, ns.CPUOffload(False)
    policy, prefetch = ns.ModuleWrapPolicy({Block}), ns.BackwardPrefetch.BACKWARD_PRE
    arguments = (None, strategy, offload, policy, prefetch, None, None, None, CPU)
    return train(ns, ns.fully_shard_from_fsdp1(Net(), *arguments))


def cpu_offload(ns: Any) -> Record:
    offload = ns.CPUOffload(offload_params=True)
    return train(ns, _blocks(ns, cpu_offload=offload, use_orig_params=False), window=1)


def no_backward_prefetch(ns: Any) -> Record:
    return _counting(ns, _blocks(ns, backward_prefetch=None))


def late_backward_prefetch(ns: Any) -> Record:
    return _counting(ns, _blocks(ns, backward_prefetch=ns.BackwardPrefetch.BACKWARD_POST))


def forward_prefetch(ns: Any) -> Record:
    return _counting(ns, _blocks(ns, forward_prefetch=True, limit_all_gathers=False))


def tied_in_one_unit(ns: Any) -> Record:
    policy = ns.ModuleWrapPolicy({Block})
    model = ns.fully_shard_from_fsdp1(Net(tied=True), auto_wrap_policy=policy, device_id=CPU)
    return train(ns, model)


def momentum(ns: Any) -> Record:
    model = _blocks(ns)
    return train(ns, model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


def two_groups_one_frozen_block(ns: Any) -> Record:
    net = Net()
    net.blocks[0].requires_grad_(False)
    policy = ns.ModuleWrapPolicy({Block})
    model = ns.fully_shard_from_fsdp1(net, auto_wrap_policy=policy, device_id=CPU)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in named if "norm" in name], "weight_decay": 0.0},
        {"params": [p for name, p in named if "norm" not in name], "lr": 0.02},
    ]
    return train(ns, model, torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1))


# --------------------------------------------------------------------------------- accumulation
def _window(ns: Any, strategy: str) -> Record:
    model = _blocks(ns, sharding_strategy=ns.ShardingStrategy[strategy])
    record = train(ns, model, window=3, accumulate=True)
    with counted() as counts:
        train(ns, model, steps=1, window=3, accumulate=True)
    counts.pop("all-reduce", None)  # FSDP1's optimizer state dict
    if strategy == "FULL_SHARD":
        record["reductions"] = counts["reduce-scatter"]
    return record


def accumulate_full_shard(ns: Any) -> Record:
    return _window(ns, "FULL_SHARD")


def accumulate_shard_grad_op(ns: Any) -> Record:
    record = _window(ns, "SHARD_GRAD_OP")
    model = _blocks(ns, sharding_strategy=ns.ShardingStrategy.SHARD_GRAD_OP)
    with counted() as counts:
        for i, (ids, targets) in enumerate(batches(3)):
            with ns.no_sync(model) if i < 2 else torch.enable_grad():
                loss_of(model(ids), targets).backward()
    record["gathers of a window"] = dict(sorted(counts.items()))
    return record


def accumulate_no_shard(ns: Any) -> Record:
    return _window(ns, "NO_SHARD")


def accumulate_synchronised(ns: Any) -> Record:
    return train(ns, _blocks(ns), window=3)


def accumulate_low_precision(ns: Any) -> Record:
    precision = ns.MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)
    return train(ns, _blocks(ns, mixed_precision=precision), window=2, accumulate=True)


def nested_no_sync(ns: Any) -> Record:
    model = _blocks(ns)
    (a, b), (c, d), (e, f) = batches(3)
    with ns.no_sync(model):
        with ns.no_sync(model):
            loss_of(model(a), b).backward()
        loss_of(model(c), d).backward()
    loss_of(model(e), f).backward()
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    return whole(ns, model)


# ------------------------------------------------------------------------------ mixed precision
def bfloat16(ns: Any) -> Record:
    return train(ns, _mixed(ns, ns.MixedPrecision(torch.bfloat16)))


def bfloat16_reduced_in_float32(ns: Any) -> Record:
    precision = ns.MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    return train(ns, _mixed(ns, precision))


def float32_reduced_in_bfloat16(ns: Any) -> Record:
    return train(ns, _mixed(ns, ns.MixedPrecision(reduce_dtype=torch.bfloat16)))


def float16(ns: Any) -> Record:
    return train(ns, _mixed(ns, ns.MixedPrecision(torch.float16, torch.float16)))


def buffers_too(ns: Any) -> Record:
    precision = ns.MixedPrecision(torch.bfloat16, torch.float32, torch.bfloat16)
    model = _mixed(ns, precision)
    before = whole(ns, model)
    record = train(ns, model)
    live = {
        name.replace("_fsdp_wrapped_module.", ""): b.clone() for name, b in model.named_buffers()
    }
    return {**record, "before": before, "live": live}


def buffers_only(ns: Any) -> Record:
    model = _mixed(ns, ns.MixedPrecision(buffer_dtype=torch.float16))
    return {**train(ns, model), "dtypes": sorted(str(b.dtype) for b in model.buffers())}


def inner_units_cast(ns: Any) -> Record:
    precision = ns.MixedPrecision(torch.bfloat16, torch.float32, cast_forward_inputs=True)
    return train(ns, _mixed(ns, precision))


def other_exempt_classes(ns: Any) -> Record:
    exempt = (nn.LayerNorm,)
    precision = ns.MixedPrecision(torch.bfloat16, _module_classes_to_ignore=exempt)
    return train(ns, _blocks(ns, mixed_precision=precision))


def exempt_under_a_callable_policy(ns: Any) -> Record:
    policy = functools.partial(ns.transformer_auto_wrap_policy, transformer_layer_cls={Table})
    return train(ns, _mixed(ns, ns.MixedPrecision(torch.bfloat16), auto_wrap_policy=policy))


def precision_by_hand(ns: Any) -> Record:
    """Nested by hand: only the outermost unit casts its inputs."""
    net = Mixed()
    del net.bn
    net.bn = nn.Identity()
    kwargs = {"mixed_precision": ns.MixedPrecision(torch.bfloat16), "device_id": CPU}
    for i in range(2):
        net.tables[i] = ns.fully_shard_from_fsdp1(net.tables[i], **kwargs)
    return train(ns, ns.fully_shard_from_fsdp1(net, **kwargs))


def precision_per_unit(ns: Any) -> Record:
    """A policy that overrides precision and strategy for some units."""

    class Upcast(Net):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.embed(ids)
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x.float()))

    override = {
        "mixed_precision": ns.MixedPrecision(torch.bfloat16, cast_forward_inputs=True),
        "sharding_strategy": ns.ShardingStrategy.SHARD_GRAD_OP,
    }

    def choose(module: nn.Module) -> Any:
        return override if isinstance(module, Block) else False

    policy = ns.CustomPolicy(choose)
    return train(ns, ns.fully_shard_from_fsdp1(Upcast(), auto_wrap_policy=policy, device_id=CPU))


def root_does_not_cast(ns: Any) -> Record:
    precision = ns.MixedPrecision(torch.bfloat16, cast_root_forward_inputs=False)
    model = ns.fully_shard_from_fsdp1(nn.Linear(5, 3), mixed_precision=precision, device_id=CPU)
    out = model(torch.ones(2, 5, dtype=torch.bfloat16))
    try:
        model(torch.ones(2, 5))
    except RuntimeError:
        return {"out": out, "refused": True}
    return {"out": out, "refused": False}


def parts_of_inputs(ns: Any) -> Record:
    """Containers of tensors and things that are none."""

    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, pair: Any, *, more: dict[str, Any]) -> Any:
            x, ids = pair
            y = self.linear(x) + self.linear(more["deep"][0])
            return {"y": y, "dtypes": [x.dtype, ids.dtype, more["deep"][0].dtype, more["name"]]}

    precision = ns.MixedPrecision(torch.bfloat16)
    model = ns.fully_shard_from_fsdp1(Takes(), mixed_precision=precision, device_id=CPU)
    x = torch.randn(2, 4)
    return model((x, torch.arange(3)), more={"deep": [x * 2], "name": "n"})


# ------------------------------------------------------------------------------------- policies
def _deep(ns: Any, policy: Any) -> Record:
    model = ns.fully_shard_from_fsdp1(Deep(), auto_wrap_policy=policy, device_id=CPU)
    record = train(ns, model, steps=2)
    with counted() as counts:
        ids, targets = batches(1)[0]
        loss_of(model(ids), targets).backward()
    return {**record, "collectives": dict(sorted(counts.items()))}


def transformer_policy(ns: Any) -> Record:
    classes = {Attention, Block}
    policy = functools.partial(ns.transformer_auto_wrap_policy, transformer_layer_cls=classes)
    return _deep(ns, policy)


def size_policy(ns: Any) -> Record:
    return _deep(ns, functools.partial(ns.size_based_auto_wrap_policy, min_num_params=300))


def custom_policy(ns: Any) -> Record:
    strategy = ns.ShardingStrategy.SHARD_GRAD_OP

    def choose(module: nn.Module) -> Any:
        if isinstance(module, Block):
            return {"sharding_strategy": strategy}
        return isinstance(module, Attention)

    return _deep(ns, ns.CustomPolicy(choose))


def combined_policies(ns: Any) -> Record:
    one = functools.partial(ns.transformer_auto_wrap_policy, transformer_layer_cls={Attention})
    two = functools.partial(
        ns.lambda_auto_wrap_policy, lambda_fn=lambda m: isinstance(m, nn.Embedding)
    )
    return _deep(ns, functools.partial(ns.or_policy, policies=[one, two]))


def own_policy(ns: Any) -> Record:
    def policy(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
        containers = (nn.ModuleList, nn.ModuleDict, nn.MultiheadAttention)
        return recurse or (nonwrapped_numel >= 250 and not isinstance(module, containers))

    return _deep(ns, policy)


def nested_by_hand(ns: Any) -> Record:
    net = Net()
    for i in range(3):
        net.blocks[i] = ns.fully_shard_from_fsdp1(net.blocks[i], device_id=CPU)
    net.head = ns.fully_shard_from_fsdp1(net.head, device_id=CPU)
    return _counting(ns, ns.fully_shard_from_fsdp1(net, device_id=CPU))


def annotated(ns: Any) -> Record:
    strategy = ns.ShardingStrategy
    arguments = {"device_id": CPU, "sharding_strategy": strategy.FULL_SHARD}
    with ns.enable_wrap(wrapper_cls=ns.fully_shard_from_fsdp1, **arguments):
        inner = ns.wrap(nn.Linear(6, 6), sharding_strategy=strategy.SHARD_GRAD_OP)
        model = ns.wrap(nn.Sequential(inner, nn.ReLU(), ns.wrap(nn.Linear(6, 2))))
    model(torch.ones(2, 6)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert type(ns.wrap(nn.Linear(2, 2))) is nn.Linear
    return whole(ns, model)


# ------------------------------------------------------------------------------ ignored states
def ignored_modules(ns: Any) -> Record:
    net = Net()
    return train(ns, _ignoring(ns, net, ignored_modules=[net.blocks[1].up, net.head]))


def ignored_parameters(ns: Any) -> Record:
    net = Net()
    record = train(ns, _ignoring(ns, net, ignored_states=[net.blocks[1].up.weight, net.norm.bias]))
    # FSDP1 registered the parameters of a unit anew, behind those that it ignored
    record["model"] = dict(sorted(record["model"].items()))
    return record


def ignored_module_states(ns: Any) -> Record:
    net = Net()
    return train(ns, _ignoring(ns, net, ignored_states=[net.blocks[0]]))


def _ignoring(ns: Any, net: Net, **kwargs: Any) -> nn.Module:
    policy = ns.ModuleWrapPolicy({Block})
    return ns.fully_shard_from_fsdp1(net, auto_wrap_policy=policy, device_id=CPU, **kwargs)


# ------------------------------------------------------------------------------------- clipping
def _clipped(ns: Any, order: float, **kwargs: Any) -> Record:
    model = _blocks(ns, **kwargs)
    return train(ns, model, before_step=lambda: ns.clip_grad_norm_(model, 0.1, order))


def clipped_by_largest(ns: Any) -> Record:
    return _clipped(ns, float("inf"))


@close(1e-5)
def clipped(ns: Any) -> Record:
    return _clipped(ns, 2.0)


@close(1e-5)
def clipped_by_other_norms(ns: Any) -> Record:
    return {"one": _clipped(ns, 1), "three": _clipped(ns, 3)}


@close(1e-5)
def clipped_no_shard(ns: Any) -> Record:
    return _clipped(ns, 2.0, sharding_strategy=ns.ShardingStrategy.NO_SHARD)


@close(1e-5)
def clipped_offloaded(ns: Any) -> Record:
    offload = ns.CPUOffload(offload_params=True)
    return _clipped(ns, 2.0, cpu_offload=offload, use_orig_params=False)


@close(1e-5)
def clipped_with_ignored(ns: Any) -> Record:
    """Gradients of ignored parameters are the rank's own, so each rank has a norm of its own."""
    net = Net()
    model = _ignoring(ns, net, ignored_modules=[net.head])
    ids, targets = batches(1)[0]
    loss_of(model(ids), targets).backward()
    first = {order: ns.clip_grad_norm_(model, 1e9, order) for order in (1, 2.0, float("inf"))}
    with counted() as counts:
        ns.clip_grad_norm_(model, 0.05)
    assert net.head.weight.grad is not None
    return {"norms": first, "head": net.head.weight.grad.clone(), "collectives": dict(counts)}


@close(1e-2)
def clipped_in_bfloat16(ns: Any) -> Record:
    """All parameters in bfloat16: the norm is taken in float32 and rounded once."""
    policy = ns.ModuleWrapPolicy({Block})
    net = Net().to(torch.bfloat16)
    model = ns.fully_shard_from_fsdp1(net, auto_wrap_policy=policy, device_id=CPU)
    ids, targets = batches(1)[0]
    loss_of(model(ids), targets).backward()
    norm = ns.clip_grad_norm_(model, 0.1, 3.0)
    return {"norm": norm, "collectives": _collectives_of_clipping(ns, model)}


def _collectives_of_clipping(ns: Any, model: nn.Module) -> dict[str, int]:
    with counted() as counts:
        ns.clip_grad_norm_(model, 0.1)
    return dict(counts)


# ---------------------------------------------------------------------- parameters without use
class _Unused(Net):
    """Parameters that take no part: in a block, and at the root."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Parameter(torch.randn(7))
        self.blocks[1].spare = nn.Linear(10, 3)


class _Switching(Net):
    """Takes another way every time: some blocks run, some do not, one runs in part."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Linear(10, 10)
        self.calls = 0

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        x = self.embed(ids)
        if self.calls % 2:
            x = self.blocks[0](x)
        x = self.blocks[1](x)
        x = self.blocks[2](x) if self.calls % 3 else self.extra(x)
        return self.head(self.norm(x))


def _of(ns: Any, net: nn.Module, **kwargs: Any) -> nn.Module:
    policy = ns.ModuleWrapPolicy({Block})
    return ns.fully_shard_from_fsdp1(net, auto_wrap_policy=policy, device_id=CPU, **kwargs)


def unused_parameters(ns: Any) -> Record:
    return train(ns, _of(ns, _Unused()))


def unused_flat_parameters(ns: Any) -> Record:
    return train(ns, _of(ns, _Unused(), use_orig_params=False))


def unused_parameters_accumulated(ns: Any) -> Record:
    return train(ns, _of(ns, _Unused()), window=2, accumulate=True)


def unused_parameters_low_precision(ns: Any) -> Record:
    precision = ns.MixedPrecision(torch.bfloat16, torch.float32)
    return train(ns, _of(ns, _Unused(), mixed_precision=precision))


def unused_units(ns: Any) -> Record:
    return train(ns, _of(ns, _Switching()), steps=6)


def unused_units_momentum(ns: Any) -> Record:
    model = _of(ns, _Switching(), sharding_strategy=ns.ShardingStrategy.SHARD_GRAD_OP)
    return train(ns, model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), steps=6)


def unused_unit_outputs(ns: Any) -> Record:
    """A unit runs, but nothing comes of it."""

    class Wasteful(Net):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.embed(ids)
            self.blocks[0](x)
            return self.head(self.norm(self.blocks[1](x)))

    return train(ns, _of(ns, Wasteful()))


def several_forwards(ns: Any) -> Record:
    """Two forwards, one backward: reduced once."""
    model = _of(ns, _Unused())
    optim = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    record: Record = {"loss": [], "reductions": []}
    for (ids, targets), (more, others) in zip(batches(3), batches(3, seed=3), strict=True):
        loss = loss_of(model(ids), targets) + loss_of(model(more), others)
        with counted() as counts:
            loss.backward()
        optim.step()
        optim.zero_grad()
        record["loss"].append(loss.detach())
        record["reductions"].append(counts["reduce-scatter"])
        model(ids)  # and one without a backward
    return {**record, "state": whole(ns, model)}


def recomputed(ns: Any) -> Record:
    """Activation checkpointing outside and inside of units."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
        apply_activation_checkpointing,
    )

    record: Record = {}
    for when in ("before", "after"):
        net = _Unused()
        if when == "before":
            apply_activation_checkpointing(net, check_fn=lambda m: isinstance(m, Block))
        model = _of(ns, net)
        if when == "after":
            apply_activation_checkpointing(model, check_fn=lambda m: isinstance(m, Block))
        record[when] = train(ns, model)
    return record
