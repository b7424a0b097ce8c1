"""Modes that are set for good: for which models, and whether before anything asks for a state."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.modes_for_good import models_asked, models_set_at_once
from support.programs import Analysis

HEAD = """
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import StateDictType

def build():
    return FSDP(nn.Linear(2, 2)), None

def build_and_load():
    made = FSDP(nn.Linear(2, 2))
    made.load_state_dict({})
    return made
"""
SETTING = "FSDP.set_state_dict_type(model, StateDictType.SHARDED_STATE_DICT)"


def call_of(program: Analysis, name: str) -> ast.Call:
    """The last call of a method called `name`."""
    calls = [n for n in ast.walk(program.module().tree) if isinstance(n, ast.Call)]
    return [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == name][-1]


@pytest.mark.parametrize(
    ("text", "models", "at_once"),
    [
        (f"model = FSDP(nn.Linear(2, 2))\n{SETTING}", 1, True),
        (f"model = FSDP(nn.Linear(2, 2))\nprint(1)\n{SETTING}", 1, True),
        (f"model, other = build()\n{SETTING}", 1, True),
        (f"model = build_and_load()\n{SETTING}", 1, False),
        (f"model = FSDP(nn.Linear(2, 2))\nmodel.state_dict()\n{SETTING}", 1, False),
        (f"model = FSDP(nn.Linear(2, 2))\nif input():\n    {SETTING}", 1, False),
        (f"model = FSDP(nn.Linear(2, 2))\nbefore = {SETTING}", 1, False),
        (f"model = FSDP(nn.Sequential(FSDP(nn.Linear(2, 2))))\n{SETTING}", 2, True),
    ],
)
def test_models_of_a_mode(text: str, models: int, at_once: bool) -> None:
    program = Analysis(HEAD + text)
    call = call_of(program, "set_state_dict_type")
    found, first = models_set_at_once(program.solver, program.module(), call)
    assert (len(found), first) == (models, at_once)


def test_models_that_are_asked() -> None:
    program = Analysis(
        HEAD + "model, _ = build()\nmodel.state_dict()\nFSDP.optim_state_dict(model, 1)\n"
        "def ask(given: FSDP):\n    given.load_state_dict({})\n"
    )
    for name in ("state_dict", "optim_state_dict"):
        models = models_asked(program.solver, call_of(program, name))
        assert models is not None
        assert len(models) == 1
    assert models_asked(program.solver, call_of(program, "load_state_dict")) is None
