"""Which mode a call means, and which modes can go."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from fsdp_migrate.lowering.state_dict_modes import (
    Modes,
    OpenModes,
    Setting,
    find_modes,
    modes_around,
    settled,
)
from support.programs import Analysis, dedent

HEAD = """
import torch
from torch.distributed.fsdp import FullStateDictConfig, FullOptimStateDictConfig
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import ShardedStateDictConfig, StateDictType
"""


def modes(text: str) -> tuple[Analysis, Modes]:
    """The modes of a program, none of them decided."""
    program = Analysis(HEAD + text)
    return program, find_modes(program.solver)


def around(program: Analysis, text: str) -> OpenModes:
    """The modes that can be open around the last call spelled `text`."""
    call = list(program.nodes(text))[-1]
    assert isinstance(call, ast.Call)
    return modes_around(program.solver, call)


def default_of(found: Modes) -> Setting | None:
    """What holds where no mode is open, in the one program that sets a mode for good."""
    (default,) = found.defaults.values()
    return default


# ---------------------------------------------------------------------- what a mode says
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("StateDictType.FULL_STATE_DICT", Setting()),
        ("StateDictType.SHARDED_STATE_DICT", Setting("SHARDED")),
        ("StateDictType.LOCAL_STATE_DICT", None),
        ("StateDictType.FULL_STATE_DICT, None", Setting()),
        (
            "StateDictType.FULL_STATE_DICT, FullStateDictConfig(True, rank0_only=True)",
            Setting("FULL", True, True),
        ),
        (
            "state_dict_type=StateDictType.FULL_STATE_DICT, "
            "optim_state_dict_config=FullOptimStateDictConfig(offload_to_cpu=False)",
            Setting(optim_offload=False, optim_given=True),
        ),
        (
            "StateDictType.SHARDED_STATE_DICT, ShardedStateDictConfig(_use_dtensor=True)",
            Setting("SHARDED"),
        ),
        ("StateDictType.FULL_STATE_DICT, FullStateDictConfig(offload_to_cpu=len([]))", None),
        ("kind", None),
        ("*kinds", None),
        ("**kinds", None),
    ],
)
def test_what_a_mode_says(arguments: str, expected: Setting | None) -> None:
    _, found = modes(f"""
def save(model, kind, kinds):
    model = FSDP(model)
    with FSDP.state_dict_type(model, {arguments}):
        return model.state_dict()
""")
    (plan,) = found.plans.values()
    assert plan.setting == expected


def test_what_a_mode_reads_may_go_with_it() -> None:
    _, found = modes("""
def save(model):
    model = FSDP(model)
    config = FullStateDictConfig(True, True)
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, config):
        return model.state_dict()
""")
    (plan,) = found.plans.values()
    assert [ast.unparse(statement) for statement in plan.absorbed] == [
        "config = FullStateDictConfig(True, True)"
    ]


# ---------------------------------------------------------------------- modes for good
def test_a_mode_that_every_model_gets_at_once_is_the_default() -> None:
    _, found = modes("""
def build(net):
    model = FSDP(net)
    FSDP.set_state_dict_type(model, StateDictType.SHARDED_STATE_DICT)
    return model
""")
    assert found.defaults
    assert default_of(found) == Setting("SHARDED")


@pytest.mark.parametrize("target", ["other", "models[0]", "self.model.inner"])
def test_a_mode_for_another_model_is_no_default(target: str) -> None:
    _, found = modes(f"""
def build(net, other, models, self):
    model = FSDP(net)
    FSDP.set_state_dict_type({target}, StateDictType.SHARDED_STATE_DICT)
    return model
""")
    assert default_of(found) is None


def test_models_are_told_apart_by_path_and_not_by_spelling() -> None:
    _, found = modes("""
def build(self, net):
    self . model = FSDP(net)
    FSDP.set_state_dict_type(module=self.model, state_dict_type=StateDictType.SHARDED_STATE_DICT)
""")
    assert default_of(found) == Setting("SHARDED")


# ---------------------------------------------------------------------- deciding
TWO = """
def save(model, other):
    model, other = FSDP(model), FSDP(other)
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):
        first = model.state_dict()
    with FSDP.state_dict_type(other, StateDictType.FULL_STATE_DICT):
        second = other.state_dict()
    return first, second
"""


def test_nothing_is_decided_by_looking() -> None:
    _, found = modes(TWO)
    assert not any(plan.native for plan in found.plans.values())


def test_a_mode_goes_when_no_call_needs_it() -> None:
    program, found = modes(TWO)
    first, second = around(program, "model.state_dict()"), around(program, "other.state_dict()")
    result = settled(found, [(first, True), (second, False)])
    assert result.is_native(first)
    assert not result.is_native(second)


def test_deciding_changes_no_plan() -> None:
    program, found = modes(TWO)
    before = {site: replace(plan) for site, plan in found.plans.items()}
    calls = [(around(program, "model.state_dict()"), True)]
    assert settled(found, calls) is not found
    assert found.plans == before


def test_a_call_that_may_run_in_either_of_two_holds_both() -> None:
    program, found = modes("""
def state(model):
    return model.state_dict()


def save(net):
    model = FSDP(net)
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):
        first = state(model)
    with FSDP.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
        return first, state(model)
""")
    ambiguous = around(program, "model.state_dict()")
    assert len(ambiguous) == 2
    assert found.setting(ambiguous) is None
    result = settled(found, [(ambiguous, False)])
    assert not any(plan.native for plan in result.plans.values())


def test_a_mode_that_is_none_of_the_program_s_is_unknown() -> None:
    program, found = modes(TWO)
    stranger = program.module().site(next(program.nodes("first")))
    assert found.setting(frozenset({stranger})) is None
    assert not found.is_native(frozenset({stranger}))


def test_programs_that_share_nothing_have_no_modes_in_common() -> None:
    text = """
        def main():
            model = FSDP(torch.nn.Linear(4, 4))
            {mode}
            {call}

        main()
        """
    setter = "FSDP.set_state_dict_type(model, StateDictType.SHARDED_STATE_DICT)"
    program = Analysis(
        {
            "a/train.py": HEAD + dedent(text.format(mode="", call="model.state_dict()")),
            "b/train.py": HEAD + dedent(text.format(mode=setter, call="model.state_dict()")),
        }
    )
    found = find_modes(program.solver)
    calls = [c for c in program.solver.open_modes if isinstance(c.func, ast.Attribute)]
    settings = {
        program.solver.call_graph.module_of(call).name: found.setting(
            modes_around(program.solver, call)
        )
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "state_dict"
    }
    assert set(settings.values()) == {Setting(), Setting("SHARDED")}
