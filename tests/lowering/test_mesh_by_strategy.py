"""A mesh that is there for the hybrid strategies."""

from __future__ import annotations

import pytest

from support.wraps import plan, shown

PROGRAM = """\
from torch.distributed.device_mesh import init_device_mesh


def build(args):
    strategy = ShardingStrategy.HYBRID_SHARD if args.hybrid else ShardingStrategy.{other}
    hybrid = {test}
    mesh = init_device_mesh("cuda", (2, 4), mesh_dim_names=("a", "b")){last}
    policy = ModuleWrapPolicy({{Block}})
    return FSDP(
        Block(), auto_wrap_policy=policy, sharding_strategy=strategy, device_mesh={mesh}
    )
"""
IS_HYBRID = "strategy == ShardingStrategy.HYBRID_SHARD"


def _sharding(
    test: str = IS_HYBRID, mesh: str = "mesh", last: str = "", other: str = "SHARD_GRAD_OP"
) -> str:
    """The keyword arguments that a call gets for its strategy and its mesh."""
    made = plan(PROGRAM.format(test=test, mesh=mesh, last=last, other=other))
    if made.parts.residues:
        return made.parts.residues[0].words
    assert made.parts.mesh is not None
    assert made.parts.reshard is not None
    mesh_, reshard = (
        shown(made.fact.module, part)
        for part in (made.parts.mesh.code, made.parts.reshard.after_forward)
    )
    return f"{mesh_}, {reshard}"


EXPECTED = 'False if strategy == "SHARD_GRAD_OP" else None'


@pytest.mark.parametrize(
    ("test", "mesh", "last"),
    [
        ("None", "mesh", ""),
        (IS_HYBRID, "mesh if hybrid else None", ""),
        (IS_HYBRID, "mesh", " if hybrid else None"),
        (IS_HYBRID, "mesh if hybrid else None", " if hybrid else None"),
        ("strategy in (ShardingStrategy.HYBRID_SHARD,)", "mesh", " if hybrid else None"),
        ("strategy is ShardingStrategy.HYBRID_SHARD", "mesh", " if hybrid else None"),
        (f"{IS_HYBRID} or strategy is ShardingStrategy.FULL_SHARD", "mesh", " if hybrid else None"),
        ("None", f"mesh if {IS_HYBRID} else None", ""),
    ],
)
def test_a_mesh_where_there_has_to_be_one(test: str, mesh: str, last: str) -> None:
    assert _sharding(test, mesh, last) == f"{mesh}, {EXPECTED}"


@pytest.mark.parametrize(
    ("test", "mesh", "last"),
    [
        ("args.hybrid", "mesh", " if hybrid else None"),
        (IS_HYBRID, "None if hybrid else mesh", ""),
        ("strategy == ShardingStrategy.SHARD_GRAD_OP", "mesh", " if hybrid else None"),
        ("args.strategy == ShardingStrategy.HYBRID_SHARD", "mesh", " if hybrid else None"),
        (IS_HYBRID, "args.mesh", ""),
    ],
)
def test_there_may_be_none(test: str, mesh: str, last: str) -> None:
    words = _sharding(test, mesh, last)
    assert "mesh" in words or "compared with" in words
    assert EXPECTED not in words


def test_a_mesh_that_shards_is_none_to_replicate_on() -> None:
    assert "NO_SHARD" in _sharding(other="NO_SHARD")
