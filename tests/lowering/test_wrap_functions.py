"""The function that shards a model where only an expression can stand."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.wrap_plan import Function
from support.wraps import plan, plans

UNITS = "auto_wrap_policy=ModuleWrapPolicy({Block})"


def function(text: str) -> Function:
    """That of the one call of `text`."""
    found = plan(text).function
    assert found is not None
    return found


def test_what_the_file_knows_is_not_handed_over() -> None:
    made = function(f"models = {{n: FSDP(Block(), {UNITS}) for n in 'ab'}}\n")
    assert (made.more, made.standing, made.called) == ((), "top", True)


def test_variables_of_the_place_are_handed_over() -> None:
    text = f"def f(nets, mp):\n    return [FSDP(n, mixed_precision=mp, {UNITS}) for n in nets]\n"
    text += "f([Block()], MixedPrecision(param_dtype=torch.bfloat16))\n"
    assert [name.names for name, _ in function(text).more] == [("mp",)]


def test_a_lambda_that_does_nothing_else_is_the_function() -> None:
    made = function(f"def f(h):\n    return h(lambda net: FSDP(net, {UNITS}))\n")
    assert (made.model.names, made.standing, made.called) == (("net",), "top", False)


def test_a_lambda_with_a_name_keeps_it() -> None:
    made = function(f"shard_it = lambda net: FSDP(net, {UNITS})\n")
    assert (made.name.names, made.standing) == (("shard_it",), "instead")


@pytest.mark.parametrize("head", ["a, b", "a, b=1", "*a, b", "a, **b"])
def test_a_lambda_that_takes_more_calls_the_function(head: str) -> None:
    assert function(f"shard_it = lambda {head}: FSDP(a, {UNITS})\n").called


def test_functions_that_do_the_same_are_one() -> None:
    one, other = f"FSDP(Block(), {UNITS})", "FSDP(Block(), sync_module_states=True)"
    found = plans(f"print(input(), {one}, [{one}], {other})\n")
    assert [p.function.name.names[0] for p in found if p.function] == ["shard", "shard", "shard_2"]


def test_a_class_body_hides_its_variables_from_a_function() -> None:
    text = f"class A:\n    make = print\n    models = [make(), FSDP(Block(), {UNITS})]\n"
    assert plan(text).reason == "the call is part of an expression in the body of a class"


def test_a_function_waits_for_nothing() -> None:
    text = f"async def f(x):\n    print(input(), FSDP(Block(), device_mesh=await x(), {UNITS}))\n"
    assert plan(text).reason.endswith("waits for one of its arguments")
