"""Policies by size: what they say, and which function lists the units."""

from __future__ import annotations

import pytest

from support.wraps import migrated

IMPORT = "from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy as by_size\n\n\n"
SIZED = "functools.partial(by_size, min_num_params={})"


def _sharded(policy: str, model: str = "net", above: str = "") -> str:
    return migrated(
        f"{IMPORT}{above}def build(net, n):\n    return FSDP({model}, auto_wrap_policy={policy})\n"
    )


@pytest.mark.parametrize(
    ("policy", "least"),
    [
        (SIZED.format("int(1e5)"), "int(1e5)"),
        (SIZED.format("n"), "n"),
        ("by_size", "100_000_000"),
        ("functools.partial(by_size)", "100_000_000"),
        ("lambda *args, **kwargs: by_size(*args, **kwargs, min_num_params=7)", None),
        ("make()", "9"),
    ],
)
def test_the_least_size(policy: str, least: str | None) -> None:
    above = f"def make():\n    return {SIZED.format(9)}\n\n\n"
    after = _sharded(policy, above=above)
    if least is not None:
        assert f"in units_by_size(net, min_num_params={least}):" in after
    assert "fsdp_migrate" not in after
    assert "by_size(net" in after


@pytest.mark.parametrize(
    "policy",
    [
        "functools.partial(by_size, min_num_params=3, force_leaf_modules={Block})",
        "functools.partial(by_size, **n)",
    ],
)
def test_more_than_a_size(policy: str) -> None:
    assert "units_by_size" not in _sharded(policy)


@pytest.mark.parametrize(
    ("model", "attention", "lists"),
    [
        ("nn.Sequential(Block(), Block())", False, False),
        ("nn.Sequential(nn.TransformerEncoderLayer(4, 2))", True, True),
        ("Listed()", False, True),
        ("net", True, True),
    ],
)
def test_modules_of_special_kinds(model: str, attention: bool, lists: bool) -> None:
    above = (
        "class Listed(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.blocks = nn.ModuleList(Block() for _ in range(2))\n\n\n"
    )
    after = _sharded(SIZED.format(7), model, above)
    assert ("MultiheadAttention" in after) == attention
    assert ("ModuleDict" in after) == lists


def test_one_function_for_a_file() -> None:
    after = migrated(
        f"{IMPORT}def build(net):\n"
        f"    one = FSDP(nn.Sequential(Block()), auto_wrap_policy={SIZED.format(1)})\n"
        f"    return one, FSDP(net, auto_wrap_policy={SIZED.format(2)})\n"
    )
    assert after.count("def units_by_size") == 1


def test_attention_that_may_be_looked_into() -> None:
    low = f"{SIZED.format(1)}, mixed_precision=MixedPrecision(torch.bfloat16) if n else None"
    after = _sharded(low)
    assert "whole = () if n else nn.MultiheadAttention" in after
    assert "in units_by_size(net, min_num_params=1, whole=whole):" in after
    assert "whole" not in _sharded(low, "nn.Sequential(Block())")


@pytest.mark.parametrize(
    "precision",
    [
        "MixedPrecision(reduce_dtype=torch.bfloat16)",
        "MixedPrecision(param_dtype=None)",
        "MixedPrecision(param_dtype=getattr(torch, n))",
        "n.precision",
    ],
)
def test_attention_of_a_precision_that_does_not_tell(precision: str) -> None:
    after = _sharded(f"{SIZED.format(1)}, mixed_precision={precision} if n else None")
    assert "units_by_size" not in after


def test_attention_in_one_of_two_models() -> None:
    after = migrated(
        f"{IMPORT}def build(net, other):\n"
        f"    policy = {SIZED.format(1)}\n"
        "    low = MixedPrecision(torch.bfloat16)\n"
        "    one = FSDP(net, auto_wrap_policy=policy, mixed_precision=low)\n"
        "    return one, FSDP(other, auto_wrap_policy=policy)\n"
    )
    assert "in units_by_size(net, min_num_params=1):" in after
    assert "    whole = nn.MultiheadAttention\n    for module in units_by_size(other, " in after
