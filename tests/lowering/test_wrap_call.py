"""One call as a whole: where it stands, what its arguments decide together, and why not."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.wrap_plan import Reason
from support.wraps import plan, plans, wrapped


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("model = FSDP(Block())\n", "assign"),
        ("def f(s):\n    s.net.model = FSDP(Block())\n", "assign"),
        ("def f():\n    return FSDP(Block())\n", "return"),
        ("models = [FSDP(Block())]\n", "expression"),
        ("a = b = FSDP(Block())\n", "expression"),
        ("models = [FSDP(Block(), sync_module_states=True)]\n", "hoisted"),
        ("model: nn.Module = FSDP(Block(), sync_module_states=True)\n", "hoisted"),
    ],
)
def test_where_a_call_stands(text: str, shape: str) -> None:
    assert plan(text).shape == shape


@pytest.mark.parametrize(
    "text",
    [
        "models = [first(), FSDP(Block(), sync_module_states=True)]\n",
        "model = 1 if FSDP(Block(), sync_module_states=True) else 2\n",
        "if FSDP(Block(), sync_module_states=True):\n    pass\n",
    ],
)
def test_a_function_has_the_statements_where_none_can_stand(text: str) -> None:
    assert plan(text).shape == "function"
    assert plan(text, style="shim").reason == "the call is part of an expression"


def test_every_argument_says_why_it_has_no_native_form() -> None:
    arguments = "cpu_offload=flag, param_init_fn=flag.init(), limit_all_gathers=True"
    found = wrapped(arguments, style="shim")
    assert found.reasons == (
        Reason("cpu_offload", "`flag` is known only at run time"),
        Reason("param_init_fn", "`param_init_fn` materialises modules"),
    )
    assert not found.native
    assert found.reason == found.reasons[0].words
    assert not found.parts.absorbed
    left = wrapped(arguments)
    assert [residue.parameter for residue in left.parts.residues] == ["cpu_offload"]
    assert left.parts.materialized is not None


@pytest.mark.parametrize("name", ["members", "native", "plan", "policy_call", "device_type"])
def test_arguments_that_fsdp1_does_not_have(name: str) -> None:
    found = wrapped(f"{name}=3")
    assert found.unknown == (name,)
    assert found.reason == f"`{name}` has no native form"


@pytest.mark.parametrize(
    "argument",
    [
        "sharding_strategy=(chosen := ShardingStrategy.FULL_SHARD)",
        "limit_all_gathers=(chosen := True)",
        "auto_wrap_policy=ModuleWrapPolicy({(chosen := Block)})",
    ],
)
def test_an_argument_that_binds_a_variable_keeps_it(argument: str) -> None:
    assert "binds a variable on the way" in wrapped(argument).reason


def test_a_model_that_is_bound_on_the_way_is_moved_as_it_is() -> None:
    assert plan("def f(net):\n    return FSDP((placed := net.cuda()))\n").native


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "make = functools.partial(FSDP, use_orig_params=True)\nmodel = make(Block())\n",
            "the constructor is reached through a partial or `wrap`",
        ),
        (
            "def f(**kw):\n    return FSDP(Block(), **kw)\n",
            "arguments come in through `**kw`, from callers that nobody here sees",
        ),
        (
            "with torch.device('meta'):\n    net = Block()\nmodel = FSDP(net)\n",
            "modules may be on the meta device",
        ),
    ],
)
def test_calls_that_have_no_native_form(text: str, reason: str) -> None:
    assert plan(text, style="shim").reasons == (Reason("", reason),)


@pytest.mark.parametrize("made", ["({0}, {1})", "[{0}, {1}]", "dict(a={0}, b={1})", "f({0}, {1})"])
def test_two_models_without_names_share_a_function(made: str) -> None:
    one = "FSDP(nn.Sequential(Block()), auto_wrap_policy=ModuleWrapPolicy({Block}))"
    text = f"def f(*a):\n    return a\n\n\nboth = {made.format(one, one)}\n"
    assert [found.shape for found in plans(text)] == ["function", "function"]
