"""Full tensors of sharded parameters, read without disturbing training.

A unit is what is gathered at once: one FSDP1 flat parameter, or one parameter of any other kind.
For each unit and a way to look up a tensor that belongs to a parameter (its gradient, a value of
its optimizer state) it gives the full tensors by clean name.  No mode of FSDP is toggled and no
public getter of state dicts is called: both have side effects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate

Look = Callable[[Tensor], Any]
Seen = dict[str, Any]  # clean name -> what a rank has: None, a number or a dtype


class Unit(Protocol):
    """Parameters that are gathered together."""

    @property
    def names(self) -> list[str]:
        """Clean names, in the order of the unit."""

    @property
    def group(self) -> dist.ProcessGroup | None:
        """The ranks that hold parts of it; None if every rank has everything."""

    def owned(self) -> Iterable[Tensor]:
        """The tensors by which an optimizer may hold the unit."""

    def held(self, ids: set[int]) -> list[str]:
        """The names that an optimizer which holds these tensors updates."""

    def see(self, look: Look) -> Seen:
        """What this rank has for each name."""

    def full(self, look: Look, dtype: torch.dtype | None) -> Iterator[tuple[str, Tensor]]:
        """The tensors, full or as a DTensor; every rank of the group has to ask."""

    def values(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters, full or as a DTensor."""


class FlatUnit:
    """An FSDP1 flat parameter."""

    def __init__(self, prefix: str, handle: Any) -> None:
        self.handle = handle
        self.flat = handle.flat_param
        self.sharded = bool(handle.uses_sharded_strategy)
        self.names = [prefix + clean(name) for name in self.flat._fqns]
        for info in self.flat._shared_param_infos:  # tied: the smallest of the names
            primary = _dotted(info.prim_module_name, info.prim_param_name)
            place = self.flat._fqns.index(primary)
            alias = prefix + clean(_dotted(info.module_name, info.param_name))
            self.names[place] = min(self.names[place], alias)
        world = dist.get_world_size(handle.process_group)
        self.group = handle.process_group if self.sharded and world > 1 else None

    def owned(self) -> Iterator[Tensor]:
        yield self.flat
        yield from self.flat._params or ()

    def held(self, ids: set[int]) -> list[str]:
        if id(self.flat) in ids:
            return self.names
        parts = self.flat._params or ()
        return [n for n, p in zip(self.names, parts, strict=False) if id(p) in ids]

    def see(self, look: Look) -> Seen:
        whole, parts = describe(look(self.flat)), self.flat._params or ()
        # `zero_grad` reaches the parts alone; the flat gradient goes at the next forward
        if whole is not None and (not parts or any(look(part) is not None for part in parts)):
            return dict.fromkeys(self.names, whole)
        return {  # a rank without a part of a parameter may have state all the same: not its own
            name: describe(look(part)) if part.numel() else None
            for name, part in zip(self.names, parts, strict=False)
        }

    def full(self, look: Look, dtype: torch.dtype | None) -> Iterator[tuple[str, Tensor]]:
        local = look(self.flat)
        if local is None:
            local = self._assemble(look, dtype)
        elif dtype is not None:
            local = local.detach().to(dtype)
        return self._cut(local.detach())

    def values(self) -> Iterator[tuple[str, Tensor]]:
        return self._cut(self._shard().detach())

    def _shard(self) -> Tensor:
        """This rank's part, which is the parameter itself until the first forward pass."""
        shard: Tensor = getattr(self.flat, "_local_shard", self.flat) if self.sharded else self.flat
        return shard

    def _assemble(self, look: Look, dtype: torch.dtype | None) -> Tensor:
        """Views of the original parameters, laid out flat again."""
        shape = self._shard()
        local = torch.zeros(shape.numel(), dtype=dtype, device=shape.device)
        parts = [look(p) for p in self.flat._params]
        if not self.sharded:
            for view, part in zip(self.handle._get_unflat_views(local), parts, strict=True):
                if part is not None:
                    view.copy_(part)
            return local
        for info, part in zip(self.flat._shard_param_infos, parts, strict=True):
            if info.in_shard and part is not None:
                end = info.offset_in_shard + info.numel_in_shard
                local[info.offset_in_shard : end] = part.detach().flatten()
        return local

    def _cut(self, local: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Gather the shards and cut the flat tensor into the original parameters."""
        if self.sharded and self.group is not None:
            if local.device != self.handle.device:  # offloaded
                local = local.to(self.handle.device)
            whole = local.new_empty(local.numel() * dist.get_world_size(self.group))
            dist.all_gather_into_tensor(whole, local.contiguous(), group=self.group)
            local = whole
        size = getattr(self.flat, "_unpadded_unsharded_size", local.size()).numel()
        views = self.handle._get_unflat_views(local[:size].contiguous())
        return zip(self.names, (view.detach() for view in views), strict=True)


class SingleUnit:
    """A plain parameter or a DTensor."""

    def __init__(self, name: str, param: Tensor) -> None:
        self.names = [name]
        self.param = param
        self.group = _group_of(param)

    def owned(self) -> Iterator[Tensor]:
        yield self.param

    def held(self, ids: set[int]) -> list[str]:
        return self.names if id(self.param) in ids else []

    def see(self, look: Look) -> Seen:
        return {self.names[0]: describe(look(self.param))}

    def full(self, look: Look, dtype: torch.dtype | None) -> Iterator[tuple[str, Tensor]]:
        value = look(self.param)
        if value is None:  # another rank has it
            value = torch.zeros_like(self.param, dtype=dtype)
        yield self.names[0], value

    def values(self) -> Iterator[tuple[str, Tensor]]:
        yield self.names[0], self.param


def describe(value: Any) -> Any:
    """What another rank has to know of a value in order to gather it: dtype, number or nothing."""
    if isinstance(value, Tensor):
        return value.item() if value.ndim == 0 and not isinstance(value, DTensor) else value.dtype
    return value


def clean(name: str) -> str:
    """A name without the segments that wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in SEE_THROUGH)


SEE_THROUGH = ("_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod")


def _dotted(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _group_of(param: Tensor) -> dist.ProcessGroup | None:
    if not isinstance(param, DTensor):
        return None
    for dim, placement in enumerate(param.placements):
        if not isinstance(placement, Replicate) and param.device_mesh.size(dim) > 1:
            return param.device_mesh.get_group(dim)
    return None
