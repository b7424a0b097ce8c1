"""`summon_full_params`: whole parameters, for a while.

Source: `FullyShardedDataParallel.summon_full_params`, torch/distributed/fsdp/
_unshard_param_utils.py
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from fsdp_migrate.runtime.forward_hooks import Inputs, replaced_gathering
from fsdp_migrate.runtime.precision import cast_buffers
from fsdp_migrate.runtime.tensors import is_first_rank
from fsdp_migrate.runtime.units import reshard, sharded_modules
from fsdp_migrate.runtime.whole_unit import WholeUnit, gather_unit

_summoned: WeakSet[nn.Module] = WeakSet()


@dataclass
class _Context:
    """The units that one `summon_full_params` made whole."""

    writeback: bool
    units: list[WholeUnit] = field(default_factory=list)
    released: bool = False

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


@dataclass
class _Forward:
    """Forwards of one unit inside the context: with the whole parameters, unless for training."""

    context: _Context
    unit: WholeUnit

    def active(self) -> bool:
        if not self.context.released and torch.is_grad_enabled():
            self.context.release()
        return not self.context.released

    def before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
        return self.unit.enter_forward(args, kwargs)

    def after(self, output: Any) -> Any:
        return self.unit.leave_forward(output)


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

    Without gradients (`torch.no_grad()`), forwards inside use the whole parameters (under mixed
    precision: copies of them in `param_dtype`, kept until the next edit) and communicate nothing,
    so ranks may run different numbers of them, as generation does. A forward that records
    gradients ends the summons early, on every rank: edits are written back, and from there on
    the units gather and free their weights as usual. (FSDP1 freed them after it, too.)

    Contexts nest: parameters that are whole already stay whole.

    Raises:
        NotImplementedError: the combinations that FSDP1 refused, `writeback` with `rank0_only` and
            `with_grads` with `offload_to_cpu`.
    """
    _check(writeback, rank0_only, offload_to_cpu, with_grads)
    chosen = sharded_modules(module) if recurse else [module][: isinstance(module, FSDPModule)]
    cast_buffers(module)
    reshard(module)  # the root stays gathered after a no-grad forward
    keep = not rank0_only or _holds_rank0(module)
    context = _Context(writeback)
    with contextlib.ExitStack() as stack:
        stack.callback(context.close)
        for unit in chosen:
            if unit not in _summoned:
                _summoned.add(unit)
                whole = gather_unit(
                    unit, keep=keep, offload_to_cpu=offload_to_cpu, with_grads=with_grads
                )
                context.units.append(whole)
                whole.show()
                if keep:
                    stack.enter_context(replaced_gathering(unit, _Forward(context, whole)))
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
