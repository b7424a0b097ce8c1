"""Arguments that only the run knows: one function each, and plain calls around them."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.wrap_plan import Residue
from support.wraps import migrated, wrapped


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            "sharding_strategy=flag, process_group=other",
            "fully_shard(net, **sharding_kwargs(flag, process_group=other))",
        ),
        (
            "sharding_strategy=ShardingStrategy.NO_SHARD, process_group=other",
            'fully_shard(net, **sharding_kwargs("NO_SHARD", process_group=other))',
        ),
        ("cpu_offload=flag", "fully_shard(net, offload_policy=offload_policy_from_fsdp1(flag))"),
        (
            "auto_wrap_policy=flag",
            "for module in units_from_policy(net, flag):\n        fully_shard(module)\n"
            "    fully_shard(net)",
        ),
        (
            "ignored_modules=flag",
            "ignored_params = ignored_params_from_fsdp1(net, ignored_modules=flag)\n"
            "    fully_shard(net, ignored_params=ignored_params)",
        ),
        (
            "sync_module_states=True, sharding_strategy=flag, process_group=other",
            'sync_module_states(net, fsdp_kwargs["mesh"])\n    fully_shard(net, **fsdp_kwargs)',
        ),
        (
            "mixed_precision=flag.precision()",
            "mixed_precision = flag.precision()\n"
            "    fully_shard(net, mp_policy=mp_policy_from_fsdp1(mixed_precision))\n"
            "    cast_buffers_from_fsdp1(net, mixed_precision)",
        ),
    ],
)
def test_each_argument_alone(arguments: str, expected: str) -> None:
    text = f"def build(net, flag, other):\n    net = FSDP(net, {arguments})\n    return net\n"
    assert expected in migrated(text)


def test_units_below_the_root_have_a_policy_of_their_own() -> None:
    after = migrated(
        "def build(net, flag):\n"
        "    return FSDP(net, mixed_precision=flag, auto_wrap_policy=ModuleWrapPolicy({Block}))\n"
    )
    assert "fully_shard(module, mp_policy=mp_policy_from_fsdp1(flag, root=False))" in after
    assert "fully_shard(net, mp_policy=mp_policy_from_fsdp1(flag))" in after


def test_the_others_stay_native() -> None:
    plan = wrapped("cpu_offload=CPUOffload(True), sharding_strategy=flag.strategy")
    assert plan.native
    assert plan.leaves("sharding_strategy")
    assert not plan.leaves("cpu_offload")
    assert plan.parts.residues == (
        Residue(
            "sharding_strategy",
            "sharding_kwargs",
            "the sharding strategy is known only at run time",
            " (`flag.strategy`, an attribute)",
        ),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "auto_wrap_policy=flag, ignored_modules=flag.list()",
        "param_init_fn=flag, ignored_modules=other",
        "cpu_offload=(chosen := flag)",
    ],
)
def test_what_can_not_be_split_stays_one_call(arguments: str) -> None:
    assert not wrapped(arguments).native


@pytest.mark.parametrize("arguments", ["cpu_offload=flag", "sync_module_states=flag"])
def test_the_shape_of_fsdp1_can_be_kept(arguments: str) -> None:
    assert wrapped(arguments).native
    assert not wrapped(arguments, style="shim").native
