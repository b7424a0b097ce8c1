"""The function that says what a strategy means by its label."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.code import Literal
from fsdp_migrate.lowering.sharding_function import (
    MEMBERS,
    Rows,
    after_forward,
    get_sharding,
    rows_of,
)
from support.edits import module_of
from support.wraps import shown

MODULE = module_of("")


def test_rows_in_the_order_of_the_members() -> None:
    assert [label for label, _ in rows_of(reversed(MEMBERS)).rows] == list(MEMBERS)


def test_only_rows_that_can_occur() -> None:
    made = shown(MODULE, get_sharding(rows_of({"NO_SHARD", "SHARD_GRAD_OP"}), "cuda"))
    assert '"SHARD_GRAD_OP": ((world,), False)' in made
    assert '"NO_SHARD": ((world, 1), None)' in made
    assert "FULL_SHARD" not in made
    assert "node" not in made


def test_labels_of_the_user_and_a_default() -> None:
    rows = Rows((("full", "FULL_SHARD"), (2, "HYBRID_SHARD")), default="SHARD_GRAD_OP")
    made = shown(MODULE, get_sharding(rows, "cpu", cached=True))
    assert made.startswith("@cache\ndef get_sharding(strategy):\n")
    assert '"full": ((world,), None)' in made
    assert "2: ((world // node, node), None)" in made
    assert "}.get(strategy, ((world,), False))" in made
    assert 'init_device_mesh("cpu", shape' in made


@pytest.mark.parametrize(
    ("members", "default", "expected"),
    [
        ({"FULL_SHARD"}, None, "None"),
        ({"FULL_SHARD", "SHARD_GRAD_OP"}, None, 'False if "x" == "SHARD_GRAD_OP" else None'),
        (set(MEMBERS), None, 'False if "x" in ("SHARD_GRAD_OP", "_HYBRID_SHARD_ZERO2",) else None'),
        ({"FULL_SHARD"}, "SHARD_GRAD_OP", 'None if "x" == "FULL_SHARD" else False'),
        ({"SHARD_GRAD_OP"}, "SHARD_GRAD_OP", "False"),
    ],
)
def test_after_the_forward_pass(members: set[str], default: str | None, expected: str) -> None:
    rows = Rows(rows_of(members).rows, default)
    assert shown(MODULE, after_forward(Literal("x"), rows)) == expected
