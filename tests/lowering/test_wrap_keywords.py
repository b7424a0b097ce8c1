"""The keywords of the calls that shard units and root."""

from __future__ import annotations

from fsdp_migrate.findings.code import variable
from fsdp_migrate.lowering.wrap_keywords import Keywords, current_device, keywords
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from support.wraps import shown, wrapped

NET = variable("net")
UNITS = "auto_wrap_policy=ModuleWrapPolicy({Block})"
HALF = "mixed_precision=MixedPrecision(torch.half{})"


def said(plan: WrapPlan, found: Keywords) -> tuple[list[str], list[str], list[str], list[str]]:
    """The statements above, and the keywords of all, of the root and of the others."""
    groups = (found.above, found.shared, found.root, found.child)
    above, shared, root, child = ([shown(plan.fact.module, p) for p in group] for group in groups)
    return above, shared, root, child


def test_a_mesh_gets_a_name_where_there_is_a_statement_for_it() -> None:
    plan = wrapped("sharding_strategy=ShardingStrategy.NO_SHARD")
    above, shared, _, _ = said(plan, keywords(plan, NET, named=True))
    assert above[0].startswith("mesh = init_device_mesh(")
    assert shared == ["mesh=mesh"]
    above, shared, _, _ = said(plan, keywords(plan, NET, named=False))
    assert not above
    assert shared[0].startswith("mesh=init_device_mesh(")


def test_a_mesh_of_the_program_has_one() -> None:
    plan = wrapped("device_mesh=other")
    assert said(plan, keywords(plan, NET, named=True)) == ([], ["mesh=other"], [], [])


def test_ignored_parameters_are_gathered_once() -> None:
    plan = wrapped("ignored_modules=[net.head]")
    above, shared, _, _ = said(plan, keywords(plan, NET, named=True))
    assert above == ["ignored_params = set(net.head.parameters())"]
    assert shared == ["ignored_params=ignored_params"]


def test_units_below_the_root_may_treat_inputs_otherwise() -> None:
    plan = wrapped(f"{HALF.format('')}, {UNITS}")
    above, shared, root, child = said(plan, keywords(plan, NET, named=True))
    assert above[0] == "mp_policy = MixedPrecisionPolicy(param_dtype=torch.half)"
    assert above[1].endswith("unit_policy = replace(mp_policy, cast_forward_inputs=False)")
    assert (shared, root) == ([], ["mp_policy=mp_policy"])
    assert child == ["mp_policy=unit_policy"]


def test_one_policy_for_all() -> None:
    plan = wrapped(f"{HALF.format(', cast_forward_inputs=True')}, {UNITS}")
    _, shared, root, child = said(plan, keywords(plan, NET, named=True))
    assert (shared, root, child) == (["mp_policy=mp_policy"], [], [])


def test_a_policy_that_may_be_none() -> None:
    lines = (
        "half = None",
        "if flag:",
        "    half = MixedPrecision(torch.half)",
        "print(half is None)",
    )
    plan = wrapped("mixed_precision=half", *lines)
    _, shared, _, _ = said(plan, keywords(plan, NET, named=True))
    assert shared == ["mp_policy=half or MixedPrecisionPolicy()"]


def test_a_device_that_has_a_number_for_certain() -> None:
    plan = wrapped("device_id=1")
    assert [shown(plan.fact.module, c) for c in current_device(plan)] == ["set_device(1)"]


def test_a_device_that_may_have_one() -> None:
    plan = wrapped("device_id=other")
    (made,) = (shown(plan.fact.module, c) for c in current_device(plan))
    assert made.startswith('if getattr(other, "index", other) is not None:')
