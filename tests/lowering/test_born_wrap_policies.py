"""Wrap policies that are carried as values: what form they get, and who reads them."""

from __future__ import annotations

import pytest

from support.wraps import migrated

IMPORT = (
    "from torch.distributed.fsdp.wrap import always_wrap_policy, size_based_auto_wrap_policy\n"
    "from torch.distributed.algorithms._checkpoint import checkpoint_wrapper as ac\n\n\n"
)
SIZE = "functools.partial(size_based_auto_wrap_policy, min_num_params=7)"
BLOCKS = "ModuleWrapPolicy({Block})"
OTHERS = "ModuleWrapPolicy([nn.Linear])"
LAMBDA = "functools.partial(lambda_auto_wrap_policy, lambda_fn=lambda m: m.training)"


def _carried(one: str, other: str, *lines: str) -> str:
    """What becomes of a policy that is one of two, below some lines that read it."""
    more = "".join(f"    {line}\n" for line in lines)
    return migrated(
        f"{IMPORT}def build(net, flag):\n    if flag:\n        policy = {one}\n    else:\n"
        f"        policy = {other}\n{more}    return FSDP(net, auto_wrap_policy=policy)\n"
    )


@pytest.mark.parametrize(
    ("one", "other", "made", "read"),
    [
        (
            BLOCKS,
            "ModuleWrapPolicy({nn.Linear})",
            "policy = (Block,)",
            "isinstance(module, policy)",
        ),
        (BLOCKS, "None", "policy = ()", "isinstance(module, policy)"),
        (BLOCKS, LAMBDA, "policy = lambda m: m.training", "policy(module)"),
        (LAMBDA, "None", "policy = None", "policy and policy(module)"),
        (BLOCKS, SIZE, "functools.partial(units_by_size, min_num_params=7)", "in policy(net):"),
        (SIZE, "None", "policy = None", "in policy(net) if policy else []:"),
        (SIZE, "always_wrap_policy", "policy = lambda model: [", "in policy(net):"),
        (
            "size_based_auto_wrap_policy",
            "None",
            "partial(units_by_size, min_num_params=100_000_000)",
            "in policy(net) if policy else []:",
        ),
    ],
)
def test_the_form(one: str, other: str, made: str, read: str) -> None:
    after = _carried(one, other)
    assert made in after
    assert read in after


@pytest.mark.parametrize(
    "line",
    [
        "print(policy.keywords)",
        "ask(policy)",
        "policy(net, True, 1)",
        "print(isinstance(policy, ModuleWrapPolicy))",
    ],
)
def test_other_readers(line: str) -> None:
    assert "units_from_policy(net, policy)" in _carried(BLOCKS, "None", line)


@pytest.mark.parametrize("line", ["print(policy is None)", "flag = bool(policy)", "print(policy)"])
def test_readers_that_stay(line: str) -> None:
    after = _carried(BLOCKS, OTHERS, line)
    assert line in after
    assert "isinstance(module, policy)" in after


def test_activation_checkpointing() -> None:
    line = "ac.apply_activation_checkpointing(net, ac.checkpoint_wrapper, auto_wrap_policy=policy)"
    after = _carried(BLOCKS, OTHERS, line)
    assert "check_fn=lambda module: isinstance(module, policy)" in after
    assert "auto_wrap_policy" not in after
    assert "units_from_policy" in _carried(BLOCKS, SIZE, line)


def test_what_else_it_may_be() -> None:
    after = _carried(BLOCKS, "ask()")
    assert "units_from_policy" in after


def test_lists_beside_one_that_is_told_of_attention() -> None:
    after = migrated(
        f"{IMPORT}def build(net, flag):\n    policy = {BLOCKS} if flag else {SIZE}\n"
        "    low = MixedPrecision(torch.bfloat16) if flag else None\n"
        "    return FSDP(net, auto_wrap_policy=policy, mixed_precision=low)\n"
    )
    assert "lambda model, **_: [" in after
    assert "in policy(net, whole=whole):" in after
