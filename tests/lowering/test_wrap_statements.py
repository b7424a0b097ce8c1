"""Plans, written out as statements."""

from __future__ import annotations

import pytest

from support.wraps import migrated

POLICY = "auto_wrap_policy=ModuleWrapPolicy({Block})"
UNITS = """\
for module in {model}.modules():
        if isinstance(module, Block):
            fully_shard(module)
"""
CASES = {
    "a name": (
        f"def f(net):\n    return FSDP(net, {POLICY})\n",
        f"def f(net):\n    {UNITS.format(model='net')}    return fully_shard(net)\n",
    ),
    "another name": (
        "def f(net):\n    model = FSDP(net)\n    return model\n",
        "def f(net):\n    model = fully_shard(net)\n    return model\n",
    ),
    "the same name": (
        "def f(net):\n    net.a = FSDP(net.a)\n",
        "def f(net):\n    fully_shard(net.a)\n",
    ),
    "an expression that becomes a name": (
        f"def f(net):\n    return FSDP(net.cuda(), {POLICY})\n",
        "def f(net):\n    model = net.cuda()\n"
        f"    {UNITS.format(model='model')}    return fully_shard(model)\n",
    ),
    "a name that a function inside sees": (
        f"def f(net, model):\n    net.g = lambda: model\n    return FSDP(net.cuda(), {POLICY})\n",
        "def f(net, model):\n    net.g = lambda: model\n    fsdp_model = net.cuda()\n"
        f"    {UNITS.format(model='fsdp_model')}    return fully_shard(fsdp_model)\n",
    ),
    "a name from around the function": (
        f"model = 1\n\n\ndef f(net):\n    print(model)\n    return FSDP(net.cuda(), {POLICY})\n",
        "model = 1\n\n\ndef f(net):\n    print(model)\n    fsdp_model = net.cuda()\n"
        f"    {UNITS.format(model='fsdp_model')}    return fully_shard(fsdp_model)\n",
    ),
    "out of an expression": (
        f"def f(net):\n    return [FSDP(net.cuda(), {POLICY})]\n",
        "def f(net):\n    model = net.cuda()\n"
        f"    {UNITS.format(model='model')}    return [fully_shard(model)]\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES)
def test_statements(before: str, after: str) -> None:
    assert migrated(before) == after


def test_many_keywords_are_said_once() -> None:
    after = migrated(
        "def f(net):\n    return FSDP(net, sharding_strategy=ShardingStrategy.HYBRID_SHARD, "
        f"mixed_precision=MixedPrecision(torch.half, cast_forward_inputs=True), {POLICY})\n"
    )
    assert 'fsdp_kwargs = {"mesh": mesh, "mp_policy": mp_policy}' not in after
    assert "fully_shard(module, mesh=mesh, mp_policy=mp_policy)" in after
    long = migrated(
        "def f(net):\n    return FSDP(net, sharding_strategy=ShardingStrategy._HYBRID_SHARD_ZERO2, "
        f"mixed_precision=MixedPrecision(torch.half, cast_forward_inputs=True), {POLICY})\n"
    )
    assert (
        'fsdp_kwargs = {"mesh": mesh, "reshard_after_forward": False, "mp_policy": mp_policy}'
        in long
    )
    assert "fully_shard(module, **fsdp_kwargs)" in long


def test_the_root_is_no_unit() -> None:
    after = migrated(f"model = FSDP(Block(), {POLICY})\n")
    assert "if module is not model and isinstance(module, Block):" in after


def test_builtins_that_the_program_gives_away_are_named_in_full() -> None:
    after = migrated(f"def f(net, isinstance):\n    return FSDP(net, {POLICY})\n")
    assert "if builtins.isinstance(module, Block):" in after
