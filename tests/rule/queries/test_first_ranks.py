"""Which rank has a full state dict: the first of all, or the first of each group."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.first_readers import is_for_first_of_all
from support.facts import Program

HEAD = """\
import os
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy
import groups


def main(net, rank, local_rank):
    mesh = init_device_mesh("cuda", (dist.get_world_size(),))
    square = init_device_mesh("cuda", (2, 4), mesh_dim_names=("replicate", "shard"))
    model = FSDP(net{arguments})
    state = model.state_dict()
    {body}
"""
LOCAL = "int(os.environ['LOCAL_RANK'])"
EVERYWHERE = "torch.save(state, 'x')"
HYBRID = ", sharding_strategy=ShardingStrategy.HYBRID_SHARD"
GROUP = ", process_group=groups.data()"


def _asked(arguments: str, body: str) -> bool:
    asked = Program(HEAD.format(arguments=arguments, body=body))
    use = asked.use("state_dict")
    assert use.call is not None
    return is_for_first_of_all(asked.facts, use.module, use.call, use.wraps)


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        ("", EVERYWHERE),
        (", process_group=None", EVERYWHERE),
        (", device_mesh=mesh", EVERYWHERE),
        (GROUP, "if rank == 0: torch.save(state, 'x')"),
        (GROUP, "if dist.get_rank() == 0: torch.save(state, 'x')"),
        (HYBRID, "me = dist.get_rank()\n    if not me: torch.save(state, 'x')"),
        (HYBRID, "if rank != 0:\n        return\n    torch.save(state, 'x')"),
        (HYBRID, f"me, local = dist.get_rank(), {LOCAL}\n    if me == 0: torch.save(state, 'x')"),
        (HYBRID + ", device_mesh=square", "if rank == 0: torch.save(state, 'x')\n    del state"),
    ],
)
def test_the_first_of_all(arguments: str, body: str) -> None:
    assert _asked(arguments, body)


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (GROUP, EVERYWHERE),
        (GROUP, "return state"),
        (GROUP, "if groups.rank() == 0: torch.save(state, 'x')"),
        (GROUP, "if dist.get_rank(groups.data()) == 0: torch.save(state, 'x')"),
        (GROUP, "rank = groups.get_data_rank()\n    if rank == 0: torch.save(state, 'x')"),
        (GROUP, "if rank == 0: print('saves')\n    torch.save(state, 'x')"),
        (HYBRID, "if local_rank == 0: torch.save(state, 'x')"),
        (HYBRID, "me = int(os.environ['LOCAL_RANK'])\n    if me == 0: torch.save(state, 'x')"),
        (HYBRID, "rank = int(os.environ['LOCAL_RANK'])\n    if rank == 0: torch.save(state, 'x')"),
        (HYBRID, f"rank, me = {LOCAL}, dist.get_rank()\n    if rank == 0: torch.save(state, 'x')"),
        (HYBRID, f"rank, (*_, me) = {LOCAL}, 'a'\n    if rank == 0: torch.save(state, 'x')"),
        (", device_mesh=square['shard']", EVERYWHERE),
        (", auto_wrap_policy=groups.of, sharding_strategy=ShardingStrategy[rank]", EVERYWHERE),
    ],
)
def test_the_first_of_each_group(arguments: str, body: str) -> None:
    assert not _asked(arguments, body)
