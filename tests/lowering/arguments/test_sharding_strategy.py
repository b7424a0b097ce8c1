"""Sharding strategies: when weights are given back, and on which mesh."""

from __future__ import annotations

import pytest

from support.wraps import migrated, shown, wrapped

S = "ShardingStrategy"


@pytest.mark.parametrize(
    ("strategy", "after_forward"),
    [
        (f"{S}.FULL_SHARD", "None"),
        (f"{S}.SHARD_GRAD_OP", "False"),
        ("None", "None"),
        (f"{S}.SHARD_GRAD_OP if flag else None", "False if flag else None"),
        (f"{S}.FULL_SHARD if flag else {S}.SHARD_GRAD_OP", "None if flag else False"),
    ],
)
def test_when_weights_are_given_back(strategy: str, after_forward: str) -> None:
    plan = wrapped(f"sharding_strategy={strategy}")
    assert plan.native
    reshard = plan.parts.reshard
    said = shown(plan.fact.module, reshard.after_forward) if reshard else "None"
    assert said == after_forward


def test_a_choice_within_a_choice_keeps_its_grouping() -> None:
    strategy = f"({S}.SHARD_GRAD_OP if flag else {S}.FULL_SHARD) if other else {S}.FULL_SHARD"
    text = f"def build(net, flag, other):\n    return FSDP(net, sharding_strategy={strategy})\n"
    expected = "reshard_after_forward=(False if flag else None) if other else None"
    assert expected in migrated(text)


def test_a_variable_that_is_bound_twice_says_what_becomes_of_weights() -> None:
    plan = wrapped(
        "sharding_strategy=strategy",
        f"strategy = {S}.FULL_SHARD",
        "if flag:",
        f"    strategy = {S}.SHARD_GRAD_OP",
    )
    said = {shown(plan.fact.module, part) for _, part in plan.parts.replaced}
    assert said == {"reshard_after_forward", "None", "False"}


def test_a_variable_that_others_read_becomes_the_name() -> None:
    lines = (f"strategy = {S}.FULL_SHARD", "if flag:", f"    strategy = {S}.SHARD_GRAD_OP")
    plan = wrapped("sharding_strategy=strategy", *lines, "print(strategy)")
    assert plan.native
    assert plan.parts.reshard is not None
    said = shown(plan.fact.module, plan.parts.reshard.after_forward)
    assert said == 'False if strategy == "SHARD_GRAD_OP" else None'


@pytest.mark.parametrize(
    ("strategy", "label"),
    [
        (f"{S}.NO_SHARD if flag else None", f'{S}.NO_SHARD if flag else None or "FULL_SHARD"'),
        (f"{{True: {S}.NO_SHARD, False: {S}.FULL_SHARD}}[flag]", None),
        (f"{S}[flag]", None),
    ],
)
def test_a_choice_that_needs_a_mesh(strategy: str, label: str | None) -> None:
    plan = wrapped(f"sharding_strategy={strategy}")
    assert shown(plan.fact.module, plan.parts.sharding) == f"get_sharding({label or strategy})"
    (function,) = plan.parts.defined
    assert '"NO_SHARD": ((world, 1), None)' in shown(plan.fact.module, function)


def test_a_look_up_of_one_member() -> None:
    plan = wrapped(f"sharding_strategy={{True: {S}.SHARD_GRAD_OP}}[True]")
    assert plan.parts.reshard is not None
    assert shown(plan.fact.module, plan.parts.reshard.after_forward) == "False"


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ("flag", "the sharding strategy is known only at run time"),
        (f"{S}(flag).other", "the sharding strategy is known only at run time"),
    ],
)
def test_what_only_the_run_knows(strategy: str, reason: str) -> None:
    assert wrapped(f"sharding_strategy={strategy}").reason == reason


def test_a_type_in_a_test_that_stays_is_taken_from_the_shim() -> None:
    strategy = f"{S}.SHARD_GRAD_OP if flag == {S}.NO_SHARD else {S}.FULL_SHARD"
    text = f"def build(net, flag):\n    return FSDP(net, sharding_strategy={strategy})\n"
    assert "reshard_after_forward=False if flag == ShardingStrategy.NO_SHARD" in migrated(text)
