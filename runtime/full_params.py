"""`summon_full_params`: whole parameters, for a while.

Source: `FullyShardedDataParallel.summon_full_params`, torch/distributed/fsdp/
_unshard_param_utils.py
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from fsdp_migrate.runtime.forward_hooks import paused_gathering
from fsdp_migrate.runtime.tensors import gather_many, write_back
from fsdp_migrate.runtime.units import own_modules, sharded_modules

_summoned: WeakSet[nn.Module] = WeakSet()

Place = tuple[nn.Module, str]


@dataclass
class _Summoned:
    """The parameters of one unit while they are whole."""

    places: dict[nn.Parameter, list[Place]]
    whole: dict[nn.Parameter, nn.Parameter] = field(default_factory=dict)

    def show(self) -> None:
        """Register the whole parameters in place of the shards."""
        for shard, whole in self.whole.items():
            for module, name in self.places[shard]:
                setattr(module, name, whole)

    def hide(self) -> None:
        """Register the shards again."""
        for shard in self.whole:
            for module, name in self.places[shard]:
                setattr(module, name, shard)

    def write_back(self) -> None:
        """Keep what was done to the whole parameters and to their gradients."""
        for shard, whole in self.whole.items():
            write_back(shard.data, whole.data)
            if shard.grad is not None and whole.grad is not None:
                write_back(shard.grad, whole.grad)


@contextlib.contextmanager
def summon_full_params(
    module: nn.Module,
    recurse: bool = True,
    writeback: bool = True,
    rank0_only: bool = False,
    offload_to_cpu: bool = False,
    with_grads: bool = False,
) -> Iterator[None]:
    """Inside, the parameters of the units in `module` are whole, plain and in full precision.

    Kept from FSDP1: names, shapes and dtypes (the original dtype, also under mixed precision),
    `recurse=False` for the unit `module` alone, edits kept or dropped by `writeback` (each rank
    writes back its own part), shards on the other ranks with `rank0_only`, CPU copies with
    `offload_to_cpu`, gradients with `with_grads`. A module without units is left alone. Collective
    on all ranks, one all-gather per unit and dtype.

    Without gradients (`torch.no_grad()`), forwards inside use the whole parameters and communicate
    nothing, so ranks may run different numbers of them, as generation does. A forward
    with gradients is FSDP2's own: edits reach it if `writeback` is on, and its units are sharded
    again after it, as under FSDP1.

    Contexts nest: parameters that are whole already stay whole.

    Raises:
        NotImplementedError: the combinations that FSDP1 refused, `writeback` with `rank0_only` and
            `with_grads` with `offload_to_cpu`.
    """
    _check(writeback, rank0_only, offload_to_cpu, with_grads)
    chosen = sharded_modules(module) if recurse else [module][: isinstance(module, FSDPModule)]
    units = [unit for unit in chosen if unit not in _summoned]
    keep = not rank0_only or dist.get_rank() == 0
    with contextlib.ExitStack() as stack:
        for unit in units:
            summoned = _gather(unit, keep, offload_to_cpu, with_grads)
            _summoned.add(unit)
            stack.callback(_finish, unit, summoned, writeback)
            if keep:
                summoned.show()
                before = summoned.write_back if writeback else None
                stack.enter_context(paused_gathering(unit, before))
        yield


def _check(writeback: bool, rank0_only: bool, offload_to_cpu: bool, with_grads: bool) -> None:
    if writeback and rank0_only:
        raise NotImplementedError("writeback=True together with rank0_only=True")
    if with_grads and offload_to_cpu:
        raise NotImplementedError("with_grads=True together with offload_to_cpu=True")
    if offload_to_cpu and not rank0_only:
        warnings.warn(
            "every rank of this machine will hold a copy of the whole parameters in CPU memory; "
            "rank0_only=True avoids that",
            stacklevel=4,
        )


@torch.no_grad()
def _gather(unit: nn.Module, keep: bool, offload_to_cpu: bool, with_grads: bool) -> _Summoned:
    unit.reshard()  # type: ignore[operator]  # the root stays gathered after a no-grad forward
    places: dict[nn.Parameter, list[Place]] = {}
    for owner in own_modules(unit):
        for name, param in owner.named_parameters(recurse=False, remove_duplicate=False):
            if isinstance(param, DTensor):
                places.setdefault(param, []).append((owner, name))
    shards = list(places)
    graded = [p for p in shards if with_grads and p.grad is not None]
    values = gather_many([p.data for p in shards])
    whole_grads = gather_many([p.grad for p in graded if p.grad is not None])
    grads = dict(zip(graded, whole_grads, strict=True))
    summoned = _Summoned(places)
    if keep:
        for shard, value in zip(shards, values, strict=True):
            whole = nn.Parameter(value.cpu() if offload_to_cpu else value, shard.requires_grad)
            whole.grad = grads.get(shard)
            summoned.whole[shard] = whole
    return summoned


@torch.no_grad()
def _finish(unit: nn.Module, summoned: _Summoned, writeback: bool) -> None:
    _summoned.discard(unit)
    unit.reshard()  # type: ignore[operator]  # in case a forward with gradients ran inside
    summoned.hide()
    if writeback:
        summoned.write_back()
