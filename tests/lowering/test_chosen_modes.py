"""State-dict contexts that a condition chooses: what is entered where, and what goes with it."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.chosen_modes import with_choices
from fsdp_migrate.lowering.context_choices import Ways, chosen
from fsdp_migrate.lowering.context_trees import entered_contexts
from fsdp_migrate.lowering.state_dict_modes import ModePlan, find_modes
from fsdp_migrate.lowering.state_dict_settings import Setting
from support.programs import Analysis

HEAD = """
from contextlib import contextmanager, nullcontext
from torch import nn
from torch.distributed.fsdp import FullStateDictConfig, StateDictType
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

FULL, PARTS = StateDictType.FULL_STATE_DICT, StateDictType.SHARDED_STATE_DICT


def build(flag):
    net = nn.Linear(2, 2)
    return FSDP(net) if flag else net


def full(model):
    return FSDP.state_dict_type(model, FULL)


def one_of(model, whole):
    if not whole:
        return FSDP.state_dict_type(model, PARTS)
    config = FullStateDictConfig(True, rank0_only=True)
    return FSDP.state_dict_type(model, FULL, config)


@contextmanager
def perhaps(model):
    if isinstance(model, FSDP):
        with FSDP.state_dict_type(model, FULL):
            yield
    else:
        yield


@contextmanager
def loud(model):
    if isinstance(model, FSDP):
        with FSDP.state_dict_type(model, FULL):
            yield
    else:
        yield
    print("done")


flag = bool(input())
model = build(flag)
sharded = FSDP(nn.Linear(2, 2))
"""


def entries(body: str) -> list[ModePlan]:
    """The plans of the statements that enter what a condition chooses."""
    program = Analysis(HEAD + body)
    modes = with_choices(program.solver, find_modes(program.solver))
    return [plan for plan in modes.plans.values() if plan.entry_of is not None]


def kinds(plan: ModePlan) -> list[str | None]:
    """The kinds of states that a statement may have inside."""
    if isinstance(plan.ways, Ways):
        return [way.setting.kind if way.setting else None for way in plan.ways.ways]
    return [plan.setting.kind] if plan.setting else []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("with full(model) if flag else nullcontext():\n    pass", ["FULL", None]),
        ("with full(sharded) if isinstance(sharded, FSDP) else nullcontext():\n    pass", ["FULL"]),
        ("with one_of(sharded, flag):\n    pass", ["FULL", "SHARDED"]),
        ("with one_of(sharded, False):\n    pass", ["SHARDED"]),
        ("with perhaps(model):\n    pass", ["FULL", None]),
        ("with perhaps(sharded):\n    pass", ["FULL"]),
        ("with nullcontext() if flag else full(model):\n    pass", [None, "FULL"]),
        ("x = nullcontext()\nif flag:\n    x = full(model)\nwith x:\n    pass", ["FULL", None]),
        (
            "if flag:\n    x = full(model)\nelif model:\n"
            "    x = FSDP.state_dict_type(model, PARTS)\n"
            "else:\n    x = nullcontext()\nwith x:\n    pass",
            ["FULL", "SHARDED", None],
        ),
    ],
)
def test_what_is_entered(body: str, expected: list[str | None]) -> None:
    (plan,) = [each for each in entries(body) if kinds(each)]
    assert kinds(plan) == expected


@pytest.mark.parametrize(
    "body",
    [
        "with loud(model):\n    pass",
        "with full(model) if flag else nullcontext():\n    pass\nkept = full(model)",
        "with full(model) if flag else open('x'):\n    pass",
        "with full(model) if flag else nullcontext() as x:\n    pass",
        "x = full(model) if flag else nullcontext()\nprint(x)\nwith x:\n    pass",
        "for x in [full(model)]:\n    with x if flag else nullcontext():\n        pass",
        "x = full(model)\nif flag:\n    x = nullcontext()\n    flag = 0\nwith x:\n    pass",
    ],
)
def test_what_is_not_understood(body: str) -> None:
    assert not [plan for plan in entries(body) if kinds(plan)]


def test_what_carries_a_context_goes_with_it() -> None:
    body = "x = nullcontext()\nif flag:\n    x = full(model)\nwith x:\n    pass"
    program = Analysis(HEAD + body)
    (entered,) = [each for each in entered_contexts(program.solver) if each.carriers]
    assert {type(statement) for _, statement in entered.carriers} == {ast.Assign, ast.FunctionDef}
    assert isinstance(chosen(program.solver, entered), Ways)
    (plan,) = entries(body)
    assert len(plan.carriers) == 2
    assert [node.id for node in plan.kept if isinstance(node, ast.Name)] == ["flag"]


def test_a_test_that_is_known_leaves_one_setting() -> None:
    program = Analysis(f"{HEAD}\nwith perhaps(sharded):\n    pass")
    (entered,) = [each for each in entered_contexts(program.solver) if each.carriers]
    assert chosen(program.solver, entered) == Setting("FULL")
