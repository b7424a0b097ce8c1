"""Full tensors of DTensors, many with one collective.

A model has hundreds of parameters, and each has a gradient and state: gathered one by one, most of
the time goes into waiting.  Tensors that are sharded along one dimension of one mesh dimension,
which is all that FSDP2 alone produces, go into buckets; others are gathered singly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard

BUCKET = 64 << 20  # bytes of full tensors that are gathered at once

Named = tuple[str, Tensor | None]


@dataclass
class _Bucket:
    """Tensors of one type that are sharded over the same ranks."""

    group: dist.ProcessGroup
    tensors: list[tuple[str, DTensor, int]] = field(default_factory=list)  # name, tensor, dim
    size: int = 0

    def add(self, name: str, tensor: DTensor, dim: int) -> None:
        self.tensors.append((name, tensor, dim))
        self.size += tensor.numel() * tensor.element_size()

    def gather(self) -> Iterator[Named]:
        """The full tensors."""
        world = dist.get_world_size(self.group)
        locals_ = [_padded(tensor, dim, world) for _, tensor, dim in self.tensors]
        mine = torch.cat([local.reshape(-1) for local in locals_])
        everyone = mine.new_empty(world * mine.numel())
        dist.all_gather_into_tensor(everyone, mine, group=self.group)
        ranks, begin = everyone.view(world, -1), 0
        for (name, tensor, dim), local in zip(self.tensors, locals_, strict=True):
            end = begin + local.numel()
            parts = [rank[begin:end].view(local.shape) for rank in ranks]
            yield name, torch.cat(parts, dim).narrow(dim, 0, tensor.shape[dim])
            begin = end


def whole_tensors(tensors: Iterable[Named]) -> Iterator[Named]:
    """The same tensors, full; every rank has to ask for the same ones in the same order."""
    buckets: dict[tuple[str, torch.dtype], _Bucket] = {}
    for name, tensor in tensors:
        if not isinstance(tensor, DTensor):
            yield name, None if tensor is None else tensor.detach()
            continue
        place = _place(tensor)
        if place is None:
            yield name, whole(tensor)
            continue
        group, dim = place
        key = group.group_name, tensor.dtype
        bucket = buckets.setdefault(key, _Bucket(group))
        bucket.add(name, tensor, dim)
        if bucket.size >= BUCKET:
            yield from buckets.pop(key).gather()
    for bucket in buckets.values():
        yield from bucket.gather()


def whole(tensor: DTensor) -> Tensor:
    """One full tensor, detached."""
    with torch.no_grad():
        full: Tensor = _on_its_mesh(tensor).full_tensor()
    return full


def _place(tensor: DTensor) -> tuple[dist.ProcessGroup, int] | None:
    """The ranks over which a tensor is sharded and the dimension, if it is that simple."""
    places = [
        (n, placement)
        for n, placement in enumerate(tensor.placements)
        if not isinstance(placement, Replicate) and tensor.device_mesh.size(n) > 1
    ]
    if len(places) != 1:
        return None
    mesh_dim, shard = places[0]
    if not isinstance(shard, Shard) or type(shard) is not Shard:  # strided: with another layout
        return None
    return tensor.device_mesh.get_group(mesh_dim), shard.dim


def _padded(tensor: DTensor, dim: int, world: int) -> Tensor:
    """This rank's part, as long as the longest one."""
    local = _on_its_mesh(tensor).to_local()
    missing = -(-tensor.shape[dim] // world) - local.shape[dim]
    if missing:
        shape = list(local.shape)
        shape[dim] = missing
        local = torch.cat([local, local.new_zeros(shape)], dim)
    return local


def _on_its_mesh(tensor: DTensor) -> DTensor:
    """An offloaded tensor moved to where it can be gathered."""
    local, device = tensor.to_local(), tensor.device_mesh.device_type
    if local.device.type == device:
        return tensor
    return DTensor.from_local(
        local.to(device),
        tensor.device_mesh,
        tensor.placements,
        run_check=False,
        shape=tensor.shape,
        stride=tensor.stride(),
    )
