"""What a plan says about itself."""

from __future__ import annotations

import dataclasses

import pytest

from fsdp_migrate.lowering.wrap_plan import MESH, Mesh
from support.wraps import wrapped


@pytest.mark.parametrize(
    ("strategy", "keeps"),
    [
        ("ShardingStrategy.FULL_SHARD", False),
        ("ShardingStrategy.SHARD_GRAD_OP", True),
        ("ShardingStrategy.SHARD_GRAD_OP if flag else None", None),
        ("flag", None),
    ],
)
def test_whether_weights_stay_gathered(strategy: str, keeps: bool | None) -> None:
    assert wrapped(f"sharding_strategy={strategy}").keeps_unsharded is keeps


def test_flat_parameters() -> None:
    assert wrapped("use_orig_params=False").flat_parameters
    assert wrapped("limit_all_gathers=True").flat_parameters
    assert not wrapped("use_orig_params=True").flat_parameters


def test_a_mesh_that_is_made_has_a_name() -> None:
    own = wrapped("device_mesh=other").parts.mesh
    assert own is not None
    assert own.name == own.code
    assert Mesh(own.code, is_made=True).name is MESH


def test_what_the_new_code_keeps() -> None:
    plan = wrapped("sharding_strategy=ShardingStrategy.SHARD_GRAD_OP if flag else None")
    texts = {plan.fact.module.lines[s.line - 1][s.col : s.end_col] for s in plan.kept}
    assert texts == {"flag"}


def test_a_plan_is_made_once() -> None:
    plan = wrapped("use_orig_params=True")
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.shape = "return"  # type: ignore[misc]
