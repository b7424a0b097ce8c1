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
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from fsdp_migrate.runtime.forward_hooks import paused_gathering
from fsdp_migrate.runtime.tensors import gather_many, is_first_rank, write_back
from fsdp_migrate.runtime.units import own_modules, reshard, sharded_modules

_summoned: WeakSet[nn.Module] = WeakSet()

Place = tuple[nn.Module, str]


@dataclass
class _Unit:
    """The parameters of one unit while they are whole."""

    module: nn.Module
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


@dataclass
class _Context:
    """The units that one `summon_full_params` made whole."""

    writeback: bool
    units: list[_Unit] = field(default_factory=list)
    released: bool = False

    def paused(self) -> bool:
        """Whether a forward that starts or ends now should leave the parameters alone."""
        if not self.released and torch.is_grad_enabled():
            self.release()
        return not self.released

    @torch.no_grad()
    def release(self) -> None:
        """Shards again, with the edits if they are to be kept; at most once."""
        if self.released:
            return
        self.released = True
        for unit in self.units:
            unit.hide()
            if self.writeback:
                unit.write_back()

    def close(self) -> None:
        """Leave the units as they were found."""
        for unit in self.units:
            _summoned.discard(unit.module)
            unit.module.reshard()  # type: ignore[operator]  # a forward may have gathered it
        self.release()


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
    writes back its own part), shards on all but the first rank of each shard group with
    `rank0_only`, CPU copies with
    `offload_to_cpu`, gradients with `with_grads`. A module without units is left alone. Collective
    on all ranks, one all-gather per unit and dtype.

    Without gradients (`torch.no_grad()`), forwards inside use the whole parameters and communicate
    nothing, so ranks may run different numbers of them, as generation does. A forward that records
    gradients ends the summons early, on every rank: edits are written back, and from there on
    the units gather and free their weights as usual. (FSDP1 freed them after it, too.)

    Contexts nest: parameters that are whole already stay whole.

    Raises:
        NotImplementedError: the combinations that FSDP1 refused, `writeback` with `rank0_only` and
            `with_grads` with `offload_to_cpu`.
    """
    _check(writeback, rank0_only, offload_to_cpu, with_grads)
    chosen = sharded_modules(module) if recurse else [module][: isinstance(module, FSDPModule)]
    reshard(module)  # the root stays gathered after a no-grad forward
    keep = not rank0_only or _holds_rank0(module)
    context = _Context(writeback)
    with contextlib.ExitStack() as stack:
        stack.callback(context.close)
        for unit in chosen:
            if unit not in _summoned:
                _summoned.add(unit)
                context.units.append(_gather(unit, keep, offload_to_cpu, with_grads))
                context.units[-1].show()
                if keep:
                    stack.enter_context(paused_gathering(unit, context.paused))
        yield


def _holds_rank0(module: nn.Module) -> bool:
    shard = next((p for p in module.parameters() if isinstance(p, DTensor)), None)
    return shard is None or is_first_rank(shard)


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
def _gather(unit: nn.Module, keep: bool, offload_to_cpu: bool, with_grads: bool) -> _Unit:
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
    summoned = _Unit(unit, places)
    if keep:
        for shard, value in zip(shards, values, strict=True):
            whole = nn.Parameter(value.cpu() if offload_to_cpu else value, shard.requires_grad)
            whole.grad = grads.get(shard)
            summoned.whole[shard] = whole
    return summoned
