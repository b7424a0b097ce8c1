"""The device mesh that stands for FSDP1's `process_group`, `device_mesh` and strategy.

| strategy | mesh |
| --- | --- |
| `FULL_SHARD`, `SHARD_GRAD_OP` | one dimension: the group |
| `NO_SHARD` | `(group, 1)`, named `("replicate", "shard")` |
| hybrid, group tuple `(shard, replicate)` | `(replicate, shard)`, the tuple's order reversed |
| hybrid, neither group nor mesh | `(nodes, devices per node)` |

Meshes are remembered per process group: all units of a model share one mesh object.

Source: `_init_process_group_state` of torch/distributed/fsdp/_init_utils.py;
https://docs.pytorch.org/docs/stable/distributed.html#torch.distributed.device_mesh.DeviceMesh
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from fsdp_migrate.runtime.config import ShardingStrategy
from fsdp_migrate.runtime.devices import devices_per_node
from fsdp_migrate.runtime.units import HYBRID

HYBRID_DIMS = ("replicate", "shard")
GroupArgument = dist.ProcessGroup | tuple[dist.ProcessGroup, dist.ProcessGroup] | None

_meshes: WeakKeyDictionary[Any, dict[Any, DeviceMesh]] = WeakKeyDictionary()


def resolve_mesh(
    strategy: ShardingStrategy,
    process_group: GroupArgument,
    device_mesh: DeviceMesh | None,
    device: torch.device,
) -> DeviceMesh:
    """The mesh to give to `fully_shard`.

    Every rank of the groups involved has to call this, in the same order.

    Raises:
        ValueError: group and mesh are both given, or do not fit a hybrid strategy, or no process
            group was initialised.
    """
    if not dist.is_initialized():
        raise ValueError("call torch.distributed.init_process_group() before sharding a model")
    if process_group is not None and device_mesh is not None:
        raise ValueError("process_group and device_mesh exclude each other")
    if strategy in HYBRID:
        return _hybrid_mesh(process_group, device_mesh, device)
    if isinstance(process_group, tuple):
        raise ValueError(f"{strategy} takes one process group, not a tuple")
    if device_mesh is not None and device_mesh.ndim > 1:
        process_group = device_mesh.get_group(0)  # FSDP1 shards over the first dimension
        device_mesh = None
    if strategy is ShardingStrategy.NO_SHARD:
        group = device_mesh.get_group() if device_mesh is not None else process_group
        return _replicated_mesh(group, device)
    if device_mesh is not None:
        return device_mesh
    return _flat_mesh(process_group, device)


def _remembered(anchor: Any, key: Any, build: Callable[[], DeviceMesh]) -> DeviceMesh:
    known = _meshes.setdefault(anchor or dist.group.WORLD, {})  # destroyed with the group
    if key not in known:
        known[key] = build()
    return known[key]


def _flat_mesh(group: dist.ProcessGroup | None, device: torch.device) -> DeviceMesh:
    def build() -> DeviceMesh:
        if group is None or group is dist.group.WORLD:
            return init_device_mesh(device.type, (dist.get_world_size(),))
        return DeviceMesh.from_group(group, device.type)

    return _remembered(group, ("flat", device.type), build)


def _replicated_mesh(group: dist.ProcessGroup | None, device: torch.device) -> DeviceMesh:
    def build() -> DeviceMesh:
        if group is None or group is dist.group.WORLD:
            shape = (dist.get_world_size(), 1)
            return init_device_mesh(device.type, shape, mesh_dim_names=HYBRID_DIMS)
        alone = dist.new_group([dist.get_rank()], use_local_synchronization=True)
        ranks = torch.tensor(dist.get_process_group_ranks(group)).view(-1, 1)
        return DeviceMesh.from_group(
            [group, alone], device.type, mesh=ranks, mesh_dim_names=HYBRID_DIMS
        )

    return _remembered(group, ("replicated", device.type), build)


def _hybrid_mesh(
    groups: GroupArgument, device_mesh: DeviceMesh | None, device: torch.device
) -> DeviceMesh:
    if device_mesh is not None:
        if device_mesh.ndim != 2:
            raise ValueError(f"expected device_mesh to have two dimensions, got {device_mesh}")
        if device_mesh.mesh_dim_names is not None:
            return device_mesh
        return _named_mesh(device_mesh)
    if groups is None:
        return _node_mesh(device)
    if not isinstance(groups, tuple) or len(groups) != 2:
        raise ValueError(
            "hybrid strategies take process_group=None or a tuple (shard group, replicate group), "
            f"got {type(groups)}"
        )
    shard, replicate = groups
    return _remembered(
        shard, ("pair", replicate, device.type), lambda: _pair_mesh(shard, replicate, device)
    )


def _node_mesh(device: torch.device) -> DeviceMesh:
    world, node = dist.get_world_size(), devices_per_node(device)
    if node > world or world % node:
        raise ValueError(
            f"hybrid sharding inside nodes of {node} devices does not fit {world} ranks; "
            "pass process_group or device_mesh"
        )

    def build() -> DeviceMesh:
        return init_device_mesh(device.type, (world // node, node), mesh_dim_names=HYBRID_DIMS)

    return _remembered(None, ("nodes", node, device.type), build)


def _named_mesh(mesh: DeviceMesh) -> DeviceMesh:
    """FSDP2 wants the dimensions of a hybrid mesh named, FSDP1 did not care."""

    def build() -> DeviceMesh:
        return DeviceMesh.from_group(
            [mesh.get_group(0), mesh.get_group(1)],
            mesh.device_type,
            mesh=mesh.mesh,
            mesh_dim_names=HYBRID_DIMS,
        )

    return _remembered(mesh.get_group(1), ("named", mesh.get_group(0)), build)


def _pair_mesh(
    shard: dist.ProcessGroup, replicate: dist.ProcessGroup, device: torch.device
) -> DeviceMesh:
    """A mesh from the two groups of this rank; the other rows are asked for over `replicate`."""
    rows: list[list[int]] = [[] for _ in range(replicate.size())]
    dist.all_gather_object(rows, dist.get_process_group_ranks(shard), group=replicate)
    column = [row[shard.rank()] for row in rows if len(row) == shard.size()]
    if column != dist.get_process_group_ranks(replicate):
        raise ValueError(
            "the process groups do not form a grid: expected every rank of the replicate group "
            f"at the same place of its shard group, got shard groups {rows}"
        )
    return DeviceMesh.from_group(
        [replicate, shard], device.type, mesh=torch.tensor(rows), mesh_dim_names=HYBRID_DIMS
    )
