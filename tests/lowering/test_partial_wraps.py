"""Partials of the class: written out at their calls, or functions in their place."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.wraps import plan_wraps
from support.wraps import plan, plans, solved

UNITS = "auto_wrap_policy=ModuleWrapPolicy({Block})"


def test_a_variable_that_is_called_goes() -> None:
    found = plan(f"shard = functools.partial(FSDP, {UNITS})\nmodel = shard(Block())\n")
    assert (found.native, found.shape, found.through) == (True, "assign", None)
    assert set(found.arguments) == {"module", "auto_wrap_policy"}


def test_several_calls_share_a_function() -> None:
    text = f"shard = functools.partial(FSDP, {UNITS})\na = shard(Block())\nb = shard(Block())\n"
    made = plans(text)
    assert all(found.native and found.through is not None for found in made)
    assert made[0].through is made[1].through


def test_each_of_several_calls_has_what_only_one_is_given() -> None:
    text = "shard = functools.partial(FSDP, use_orig_params=True)\n"
    text += f"a = shard(Block(), {UNITS})\nb = shard(Block())\n"
    first, second = plans(text)
    assert first.parts.units is not None
    assert second.parts.units is None


def test_a_function_is_made_where_the_partial_is_returned() -> None:
    text = "def make(p):\n    return functools.partial(FSDP, auto_wrap_policy=p)\n"
    text += "model = make(ModuleWrapPolicy({Block}))(Block())\n"
    made = plan(text).through
    assert made is not None
    assert made.function is not None
    assert (made.function.standing, made.function.more) == ("above", ())


@pytest.mark.parametrize(
    "text",
    [
        "kw = functools.partial(FSDP, use_orig_params=True).keywords\nm = kw(net)\n",
        "def f(**kw):\n    s = functools.partial(FSDP)\n    return s(net, **kw)\n",
        "def f(s):\n    return s(net, sharding_strategy=flag)\n"
        "def g(p):\n    f(functools.partial(FSDP, auto_wrap_policy=p))\n"
        "g(ModuleWrapPolicy({Block}))\n",
    ],
)
def test_what_a_partial_can_not_be_said_to_get_stays(text: str) -> None:
    assert not any(found.native for found in plans("net = Block()\nflag = x = input()\n" + text))


def test_what_varies_is_bound_where_the_partial_is_made() -> None:
    text = "made = []\ndef f(policies):\n    for p in policies:\n"
    text += "        made.append(functools.partial(FSDP, auto_wrap_policy=p))\n"
    text += "    return made[0](Block())\nf([ModuleWrapPolicy({Block})])\n"
    through = plan(text).through
    assert through is not None
    assert through.function is not None
    assert [name.names for name, _ in through.function.more] == [("p",)]


def test_what_is_computed_is_bound_where_the_partial_is_made() -> None:
    text = f"def f(x):\n    return functools.partial(FSDP, device_mesh=x[0].mesh, {UNITS})\n"
    through = plan(text + "m = f(input())(Block())\n").through
    assert through is not None
    assert through.function is not None
    assert [name.names for name, _ in through.function.more] == [("mesh",)]


def test_a_call_of_one_of_several_has_the_strategies_of_all() -> None:
    text = (
        "both = {'a': functools.partial(FSDP, sharding_strategy=ShardingStrategy.SHARD_GRAD_OP),\n"
    )
    text += f"        'b': functools.partial(FSDP, {UNITS}), 'c': FSDP}}\n"
    found = plan(text + "model = both[input()](Block())\n")
    assert found.native
    assert found.members == {"FULL_SHARD", "SHARD_GRAD_OP"}
    assert found.parts.units is not None
    assert found.parts.units.condition is None


def test_what_may_be_something_else_takes_only_the_model() -> None:
    text = "wrap = FSDP if input() else nn.DataParallel\n"
    assert plan(text + "model = wrap(Block())\n").native
    assert plan(text + "model = wrap(Block(), device_id=0)\n").reason == (
        "`wrap` may call something else than FSDP"
    )


def test_the_partials_of_a_program_have_plans() -> None:
    text = f"shard = [functools.partial(FSDP, {UNITS})]\nmodel = shard[0](Block())\n"
    ((made,),) = plan_wraps(solved(text).solver).partials.values()
    assert made.calls
    assert made.shape == "function"
