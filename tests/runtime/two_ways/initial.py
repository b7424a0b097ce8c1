"""What the model holds right after sharding: synchronisation, meta device, devices, refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from two_ways.toys import Block, Mixed, Net, Record, Table, train, whole

CPU = torch.device("cpu")


class _Plain(nn.Module):
    """All modules know how to initialise themselves."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.embed = nn.Embedding(13, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(2)])
        self.head = nn.Linear(width, 13)
        self.bn = nn.BatchNorm1d(5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.bn(x))


def _buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    """All buffers, the non-persistent ones included."""
    return {
        name.replace("_fsdp_wrapped_module.", ""): buffer.clone()
        for name, buffer in model.named_buffers()
    }


def _on_every_rank(state: dict[str, torch.Tensor]) -> bool:
    """Whether the ranks hold the same values."""
    sums = [float(value.double().sum()) for value in state.values()]
    everywhere: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, sums)
    return all(other == sums for other in everywhere)


def _observed(ns: Any, model: nn.Module) -> Record:
    buffers = _buffers(model)
    return {
        "state": whole(ns, model),
        "buffers": buffers,
        "same": _on_every_rank(buffers),
        "training": train(ns, model, steps=2),
    }


def seeds_per_rank_synchronised(ns: Any) -> Record:
    torch.manual_seed(dist.get_rank())
    policy = ns.ModuleWrapPolicy({Table})
    model = ns.fully_shard_from_fsdp1(
        Mixed(), auto_wrap_policy=policy, sync_module_states=True, device_id=CPU
    )
    return _observed(ns, model)


def tied_synchronised(ns: Any) -> Record:
    torch.manual_seed(dist.get_rank())
    net = Net(tied=True)
    model = ns.fully_shard_from_fsdp1(net, sync_module_states=True, device_id=CPU)
    return _observed(ns, model)


def synchronised_unit_by_unit(ns: Any) -> Record:
    torch.manual_seed(dist.get_rank())
    net = Net()
    net.head = ns.fully_shard_from_fsdp1(net.head, sync_module_states=True, device_id=CPU)
    return _observed(ns, ns.fully_shard_from_fsdp1(net, sync_module_states=True, device_id=CPU))


def ignored_not_synchronised(ns: Any) -> Record:
    torch.manual_seed(dist.get_rank())
    net = Net()
    model = ns.fully_shard_from_fsdp1(
        net, ignored_states=[net.head], sync_module_states=True, device_id=CPU
    )
    return whole(ns, model)


def meta_reset(ns: Any) -> Record:
    """No `param_init_fn`: `reset_parameters`, in an order that the random numbers show."""
    with torch.device("meta"):
        net = _Plain()
    torch.manual_seed(7)
    policy = ns.ModuleWrapPolicy({Block})
    return _observed(ns, ns.fully_shard_from_fsdp1(net, auto_wrap_policy=policy, device_id=CPU))


def meta_init_function(ns: Any) -> Record:
    """`param_init_fn` sees the same modules in the same order."""
    seen = []

    def fill(module: nn.Module) -> None:
        seen.append(type(module).__name__)
        module.to_empty(device=CPU, recurse=False)
        for state in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            nn.init.constant_(state, len(seen) / 100)

    with torch.device("meta"):
        net = _Plain()
    policy = ns.ModuleWrapPolicy({Block})
    model = ns.fully_shard_from_fsdp1(
        net, auto_wrap_policy=policy, param_init_fn=fill, device_id=CPU
    )
    return {"seen": seen, "state": whole(ns, model)}


def meta_on_other_ranks(ns: Any) -> Record:
    """Rank 0 has the weights, the others the shapes."""
    first = dist.get_rank() == 0
    torch.manual_seed(3)
    with CPU if first else torch.device("meta"):
        net = Mixed()
    fill: Callable[[nn.Module], Any] = lambda m: m.to_empty(device=CPU, recurse=False)  # noqa: E731
    model = ns.fully_shard_from_fsdp1(
        net,
        auto_wrap_policy=ns.ModuleWrapPolicy({Table}),
        param_init_fn=None if first else fill,
        sync_module_states=True,
        device_id=CPU,
    )
    return _observed(ns, model)


def meta_ignored(ns: Any) -> Record:
    """Ignored modules stay as they are, also under an initialisation function."""
    with torch.device("meta"):
        net = _Plain()
    net.head = nn.Linear(10, 13)
    torch.manual_seed(2)
    model = ns.fully_shard_from_fsdp1(net, ignored_modules=[net.head], device_id=CPU)
    return whole(ns, model)


def init_function_unused(ns: Any) -> Record:
    """Nothing is on the meta device, so the function is not called."""

    def fail(module: nn.Module) -> None:
        raise AssertionError("called")

    return whole(ns, ns.fully_shard_from_fsdp1(Net(), param_init_fn=fail, device_id=CPU))


# ------------------------------------------------------------------------------------- refusals
def refusals(ns: Any) -> Record:
    """Arguments that FSDP1 refused are refused, with the same kind of error."""

    def attempt(**kwargs: Any) -> str:
        net = Net()
        kwargs = {name: v(net) if callable(v) else v for name, v in kwargs.items()}
        return _kind(lambda: ns.fully_shard_from_fsdp1(net, device_id=CPU, **kwargs))

    group, mesh = dist.new_group(), dist.init_device_mesh("cpu", (dist.get_world_size(),))
    hybrid = ns.ShardingStrategy.HYBRID_SHARD
    return {
        "both ignored": attempt(
            ignored_modules=lambda n: [n.head], ignored_states=lambda n: [n.head]
        ),
        "mixed ignored": attempt(ignored_states=lambda n: [n.head, n.norm.weight]),
        "odd ignored": attempt(ignored_modules=[1]),
        "group and mesh": attempt(process_group=group, device_mesh=mesh),
        "hybrid by hand": attempt(sharding_strategy=hybrid),
        "hybrid with one group": attempt(sharding_strategy=hybrid, process_group=group),
        "hybrid with flat mesh": attempt(sharding_strategy=hybrid, device_mesh=mesh),
        "policy answers": attempt(auto_wrap_policy=ns.CustomPolicy(lambda m: 1)),
        "nested units": _kind(lambda: _twice(ns)),
        "no reset": _kind(lambda: _without_reset(ns)),
        "nested contexts": _kind(lambda: _nested_annotations(ns)),
        "scalar": _kind(lambda: _scalar(ns)),
    }


def _kind(action: Callable[[], Any]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            action()
        except Exception as error:
            return type(error).__name__
    return "accepted"


def _twice(ns: Any) -> None:
    net = Net()
    net.blocks[0] = ns.fully_shard_from_fsdp1(net.blocks[0], device_id=CPU)
    policy = ns.ModuleWrapPolicy({nn.Embedding})
    ns.fully_shard_from_fsdp1(net, auto_wrap_policy=policy, device_id=CPU)


def _without_reset(ns: Any) -> None:
    with torch.device("meta"):
        table = Table(4)
    ns.fully_shard_from_fsdp1(table, device_id=CPU)


def _nested_annotations(ns: Any) -> None:
    with ns.enable_wrap(wrapper_cls=nn.Identity), ns.enable_wrap(wrapper_cls=nn.Identity):
        pass


def _scalar(ns: Any) -> None:
    module = nn.Linear(2, 2)
    module.gain = nn.Parameter(torch.ones(()))
    ns.fully_shard_from_fsdp1(module, device_id=CPU)
