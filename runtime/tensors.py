"""Whole tensors from shards, and shards from whole tensors.

Only the public side of DTensor is used: mesh, placements, `to_local`, `from_local`.

Source: https://docs.pytorch.org/docs/stable/distributed.tensor.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor behind a DTensor, as a plain tensor that shares no memory with it.

    A collective on all ranks of its mesh. The result is on the mesh's device, even if the shards
    are offloaded to the CPU. A plain tensor is cloned.
    """
    source = tensor.detach()
    if not isinstance(source, DTensor):
        return source.clone()
    local = source.to_local()
    kind = source.device_mesh.device_type
    moved = source if local.device.type == kind else cast(DTensor, source.to(kind))
    whole: torch.Tensor = moved.full_tensor()
    return whole.clone() if _same_memory(whole, local) else whole


@torch.no_grad()
def gather_many(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """`gather` for each of `tensors`, with one message per mesh and dtype where possible.

    That is possible for what `fully_shard` makes by default: shards of dimension 0, replicated
    or not. Everything else is gathered one by one.
    """
    whole: dict[int, torch.Tensor] = {}
    batches: dict[tuple[DeviceMesh, torch.dtype], list[DTensor]] = {}
    for tensor in tensors:
        if isinstance(tensor, DTensor) and _is_row_sharded(tensor):
            batches.setdefault((tensor.device_mesh, tensor.dtype), []).append(tensor)
    for (mesh, _), batch in batches.items():
        whole.update(zip(map(id, batch), _gather_rows(mesh, batch), strict=True))
    return [whole[id(t)] if id(t) in whole else gather(t) for t in tensors]


def _is_row_sharded(tensor: DTensor) -> bool:
    *outer, last = tensor.placements
    rows = type(last) is Shard and last.dim == 0
    return rows and all(isinstance(p, Replicate) for p in outer) and tensor.numel() > 0


def _gather_rows(mesh: DeviceMesh, batch: Sequence[DTensor]) -> list[torch.Tensor]:
    """One all-gather for tensors that are sharded alike over the last dimension of `mesh`."""
    dim = mesh.ndim - 1
    ranks = mesh.size(dim)
    rows = [-(-t.shape[0] // ranks) for t in batch]  # of the largest shard; others are padded
    widths = [t.numel() // t.shape[0] for t in batch]
    sizes = [r * w for r, w in zip(rows, widths, strict=True)]
    mine = torch.zeros(sum(sizes), dtype=batch[0].dtype, device=mesh.device_type)
    for part, t in zip(torch.split(mine, sizes), batch, strict=True):
        local = cast(DTensor, t.detach()).to_local()
        part[: local.numel()].copy_(local.reshape(-1))
    everyone = mine
    if ranks > 1:
        everyone = mine.new_empty(ranks * mine.numel())
        dist.all_gather_into_tensor(everyone, mine, group=mesh.get_group(dim))
    columns = torch.split(everyone.view(ranks, -1), sizes, dim=1)
    return [
        column.reshape(-1)[: t.numel()].view(t.shape).clone()
        for column, t in zip(columns, batch, strict=True)
    ]


@torch.no_grad()
def local_part(whole: torch.Tensor, like: DTensor) -> torch.Tensor:
    """This rank's part of `whole` under the placements of `like`; may be a view of `whole`."""
    part = whole
    for dim, placement in enumerate(like.placements):
        if isinstance(placement, Replicate):
            continue
        if type(placement) is not Shard:
            mesh, placements = like.device_mesh, like.placements
            return distribute_tensor(whole, mesh, placements, src_data_rank=None).to_local()
        parts = torch.chunk(part, like.device_mesh.size(dim), dim=placement.dim)
        rank = like.device_mesh.get_local_rank(dim)
        last = part.narrow(placement.dim, 0, 0)
        part = parts[rank] if rank < len(parts) else last
    return part


def shard_like(whole: torch.Tensor, like: DTensor) -> DTensor:
    """`whole` as a DTensor with mesh, placements and device of `like`; no communication.

    Every rank brings the same `whole`, on any device. Its memory is not shared. If `like` is on
    the meta device, the result is on the mesh's.
    """
    part = local_part(whole, like).detach()
    device = torch.device(like.device_mesh.device_type) if like.is_meta else like.to_local().device
    return DTensor.from_local(
        part.to(device, copy=True).contiguous(),
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=whole.shape,
        stride=torch.empty(whole.shape, device="meta").stride(),
    )


@torch.no_grad()
def write_back(target: torch.Tensor, whole: torch.Tensor) -> None:
    """Set `target`, sharded or not, to `whole` in place; every rank writes its own part."""
    if isinstance(target, DTensor):
        target.to_local().copy_(local_part(whole, target))
    else:
        target.copy_(whole)


def is_first_rank(tensor: DTensor) -> bool:
    """Whether this is rank 0 of what FSDP1 called the process group of a unit: its shard group."""
    mesh = tensor.device_mesh
    dims = [dim for dim in range(mesh.ndim) if mesh.size(dim) > 1]
    return not dims or mesh.get_local_rank(dims[-1]) == 0


def _same_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
