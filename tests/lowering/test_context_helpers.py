"""Contexts that are handed over: who hands, who enters, and with which options."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.state_dict_modes import find_modes
from fsdp_migrate.lowering.state_dict_settings import Setting
from support.programs import Analysis

HEAD = """
import contextlib
from torch import nn
from torch.distributed.fsdp import FullStateDictConfig, StateDictType
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(nn.Linear(2, 2))
"""
RETURNING = """
def whole(model, first=True):
    config = FullStateDictConfig(offload_to_cpu=first, rank0_only=first)
    return FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, config)

"""
FIRST, ALL = Setting("FULL", True, True), Setting("FULL")


def entries(text: str) -> list[Setting | None] | None:
    """What is said where the context is entered, in order; None if it isn't known who enters."""
    found = find_modes(Analysis(HEAD + text).solver)
    (helper,) = {plan.helper for plan in found.plans.values() if plan.entry_of is None}
    return [entry.setting for entry in helper.entries] if helper is not None else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("with whole(model):\n    pass", [FIRST]),
        (
            "with whole(model, False):\n    pass\nwith whole(model, first=True):\n    pass",
            [ALL, FIRST],
        ),
        ("with whole(model, first=not True):\n    pass", [ALL]),
        ("with whole(model, input()):\n    pass", [None]),
        ("with whole(model) as entered:\n    pass", None),
        ("with whole(*[model]):\n    pass", None),
        ("kept = whole(model)\nwith kept:\n    pass", None),
        ("print(whole)\nwith whole(model):\n    pass", None),
        ("__all__ = ['whole']\nwith whole(model):\n    pass", None),
        ("pass", None),
    ],
)
def test_functions(text: str, expected: list[Setting | None] | None) -> None:
    assert entries(RETURNING + text) == expected


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("context = CALL\nwith context:\n    pass", True),
        ("context = CALL\nwith context, open('x'):\n    pass", True),
        ("context = CALL\nprint(context)\nwith context:\n    pass", False),
        ("context = CALL\nif input():\n    context = None\nwith context:\n    pass", False),
        ("context = CALL\ndef enter():\n    with context:\n        pass", False),
        ("context = CALL", False),
    ],
)
def test_variables(text: str, known: bool) -> None:
    call = "FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT)"
    assert (entries(text.replace("CALL", call)) is not None) is known


@pytest.mark.parametrize(
    ("body", "known"),
    [
        ("with CALL:\n        yield", True),
        ("kind = StateDictType.FULL_STATE_DICT\n    with CALL:\n        yield", True),
        ("with CALL:\n        yield model", False),
        ("with CALL:\n        print()\n        yield", False),
        ("print()\n    with CALL:\n        yield", False),
    ],
)
def test_contexts_of_the_programs_own(body: str, known: bool) -> None:
    call = "FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT)"
    text = f"@contextlib.contextmanager\ndef whole():\n    {body.replace('CALL', call)}\n\n"
    assert (entries(text + "with whole():\n    pass\n") is not None) is known
