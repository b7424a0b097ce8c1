"""Ignored modules: the set of their parameters."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.wrap_plan import ModelCall
from support.wraps import migrated, shown, wrapped


@pytest.mark.parametrize(
    ("modules", "parameters"),
    [
        ("[net.head]", "set(net.head.parameters())"),
        ("(net.a, net.b)", "{p for m in (net.a, net.b,) for p in m.parameters()}"),
        ("[*net.rest]", "{p for m in (*net.rest,) for p in m.parameters()}"),
    ],
)
def test_modules_that_are_written_out(modules: str, parameters: str) -> None:
    plan = wrapped(f"ignored_modules={modules}")
    assert plan.parts.ignored is not None
    assert not isinstance(plan.parts.ignored.parameters, ModelCall)
    assert shown(plan.fact.module, plan.parts.ignored.parameters) == parameters
    assert plan.has_ignored


def test_modules_that_only_the_run_knows() -> None:
    plan = wrapped("ignored_modules=flag")
    assert plan.reason == "the ignored modules are known only at run time"
    assert plan.has_ignored


@pytest.mark.parametrize("nothing", ["None", "[]", "()", "[] if flag else None"])
def test_a_list_that_stays_empty(nothing: str) -> None:
    plan = wrapped(f"ignored_modules={nothing}")
    assert plan.native
    assert not plan.has_ignored


NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))
        self.head = nn.Linear(8, 8)


def build(flag):
    net = Net()
    return FSDP(net, ignored_states={})
"""


@pytest.mark.parametrize(
    ("states", "parameters"),
    [
        ("[net.scale]", "{net.scale}"),
        ("(net.scale, net.head.weight)", None),
        ("[net.head]", "set(net.head.parameters())"),
        ("list(net.head.parameters())", "set(list(net.head.parameters()))"),
        ("net.head.parameters()", "set(net.head.parameters())"),
        ("[net.scale if flag else net.head]", None),
        ("flag", None),
    ],
)
def test_states_are_parameters_or_modules(states: str, parameters: str | None) -> None:
    text = migrated(NET.format(states))
    assert ("ignored_params_from_fsdp1(" in text) == (parameters is None)
    if parameters is not None:
        assert f"ignored_params = {parameters}\n" in text


def test_no_states() -> None:
    assert wrapped("ignored_states=[net.head]").parts.residues[0].parameter == "ignored_states"
    assert wrapped("ignored_states=None").native


def test_inputs_of_ignored_modules_keep_their_dtype() -> None:
    cast = "mixed_precision=MixedPrecision(torch.bfloat16, cast_forward_inputs=True)"
    policy = "auto_wrap_policy=ModuleWrapPolicy({Block})"
    plan = wrapped(f"ignored_modules=[net.head], {cast}, {policy}")
    assert plan.reason == "inputs and buffers of ignored modules keep their dtype"


def test_braces_in_a_string_are_the_authors() -> None:
    key = '"part{0}_{1}".format(i, i + 1)'
    text = f"def build(net, i):\n    return FSDP(net, ignored_modules=[net[{key}]])\n"
    assert f"set(net[{key}].parameters())" in migrated(text)
