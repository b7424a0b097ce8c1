"""Four ranks, where FSDP1 failed."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from two_ways.compare import refused
from two_ways.four import CPU, _groups, _model
from two_ways.toys import Net, batches, loss_of


def shard_groups_of_one(ns: Any) -> None:
    """One device per node: FSDP1 never reduced gradients over the replicas."""
    model = _model(ns, "HYBRID_SHARD")
    ids, targets = batches(1)[0]
    loss_of(model(ids), targets).backward()
    grad = model.head.weight.grad.full_tensor()
    everyone = [torch.empty_like(grad) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, grad)
    assert all(torch.equal(grad, other) for other in everyone)


def groups_in_the_wrong_order(ns: Any) -> None:
    """Any pair of crossing groups is a grid, in this order or the other; others are refused."""
    shard, replicate = _groups()
    model = _model(ns, "HYBRID_SHARD", process_group=(replicate, shard))
    rank = dist.get_rank()
    mesh = next(iter(model.parameters())).device_mesh
    assert mesh.get_local_rank("shard") == rank // 2
    refused(ValueError, lambda: _model(ns, "HYBRID_SHARD", process_group=(shard, shard)))


def nodes_that_do_not_fit(ns: Any) -> None:
    count = torch.cpu.device_count
    torch.cpu.device_count = lambda: 3
    policy = ns.ModuleWrapPolicy({torch.nn.Linear})
    strategy = ns.ShardingStrategy.HYBRID_SHARD

    def shard() -> None:
        ns.fully_shard_from_fsdp1(
            Net(), sharding_strategy=strategy, auto_wrap_policy=policy, device_id=CPU
        )

    try:
        assert "4 ranks" in refused(ValueError, shard)
    finally:
        torch.cpu.device_count = count


def one_mesh_per_model(ns: Any) -> None:
    models = [_model(ns, "HYBRID_SHARD", process_group=_groups()) for _ in range(2)]
    meshes = {id(p.device_mesh) for model in models for p in model.parameters()}
    assert len(meshes) == 1
