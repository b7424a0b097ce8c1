"""State-dict methods by DCP's functions, for every setting."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.state_dict_calls import StateDictCall, by_dcp
from fsdp_migrate.lowering.state_dict_modes import Setting
from support.edits import edited
from support.facts import plain
from support.programs import Analysis

SAVE = "state = model.state_dict()\n"
LOAD = "model.load_state_dict(state)\n"
LOAD_STRICTLY = "model.load_state_dict(state, strict=flag)\n"


def call_of(text: str, setting: Setting, only_reader: bool = False) -> StateDictCall:
    """The one call of a program."""
    module = Analysis(text).module()
    node = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Call))
    assert isinstance(node.func, ast.Attribute)
    strict = node.keywords[0].value if node.keywords else None
    state = node.args[0] if node.args else None
    return StateDictCall(module, node, node.func.value, setting, state, strict, only_reader)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (Setting("SHARDED"), "get_model_state_dict(model)"),
        (
            Setting("SHARDED", offload=True),
            "get_model_state_dict(model, options=StateDictOptions(cpu_offload=True))",
        ),
        (
            Setting("FULL"),
            "get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))",
        ),
        (
            Setting("FULL", offload=True, rank0=True),
            "get_model_state_dict("
            "model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))",
        ),
        (
            Setting("FULL", offload=True),
            "{key: value.cpu() for key, value in get_model_state_dict("
            "model, options=StateDictOptions(full_state_dict=True)).items()}",
        ),
    ],
)
def test_saving(setting: Setting, expected: str) -> None:
    found = call_of(SAVE, setting)
    name, edit = by_dcp(found)
    assert name.name == "get_model_state_dict"
    assert plain(edited(found.module, edit)) == plain(f"state = {expected}")


@pytest.mark.parametrize(
    ("text", "setting", "only_reader", "expected"),
    [
        (LOAD, Setting("SHARDED"), False, "set_model_state_dict(model, state)"),
        (
            LOAD,
            Setting("FULL"),
            True,
            "set_model_state_dict(model, state, options=StateDictOptions(full_state_dict=True))",
        ),
        (
            LOAD,
            Setting("FULL"),
            False,
            "set_model_state_dict("
            "model, dict(state), options=StateDictOptions(full_state_dict=True))",
        ),
        (
            LOAD_STRICTLY,
            Setting("SHARDED"),
            False,
            "set_model_state_dict(model, state, options=StateDictOptions(strict=flag))",
        ),
    ],
)
def test_loading(text: str, setting: Setting, only_reader: bool, expected: str) -> None:
    found = call_of(text, setting, only_reader)
    name, edit = by_dcp(found)
    assert name.name == "set_model_state_dict"
    assert plain(edited(found.module, edit)) == plain(expected)
