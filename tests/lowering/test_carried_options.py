"""Options that an expression of the program's own gives, where only the run knows them."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.carried_options import Carried
from fsdp_migrate.lowering.state_dict_modes import find_modes
from support.programs import Analysis

HEAD = """
from torch import nn
from torch.distributed.fsdp import FullOptimStateDictConfig, FullStateDictConfig
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import ShardedOptimStateDictConfig, ShardedStateDictConfig
from torch.distributed.fsdp import StateDictType

model = FSDP(nn.Linear(2, 2))
kind = StateDictType[input()]
flag = bool(input())
PAIRS = {
    1: (FullStateDictConfig(True, True), FullOptimStateDictConfig(True, True)),
    2: (ShardedStateDictConfig(), ShardedOptimStateDictConfig(offload_to_cpu=False)),
}
UNEVEN = {1: (FullStateDictConfig(True, True), FullOptimStateDictConfig(False, False))}


def outside(given):
    with FSDP.state_dict_type(model, given):
        pass
"""


def carried(arguments: str) -> Carried | None:
    """What says the options of a mode that is set with `arguments`."""
    text = f"{HEAD}\nwith FSDP.state_dict_type(model, {arguments}):\n    pass\n"
    plans = find_modes(Analysis(text).solver).plans
    return plans[max(plans)].carried


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("kind", "kind"),
        ("kind, *PAIRS[int(input())]", "PAIRS[int(input())]"),
        ("kind, FullStateDictConfig(flag, flag) if flag else ShardedStateDictConfig()", "Full"),
        ("kind, *UNEVEN[int(input())]", None),
        ("kind, *unknown", None),
        ("input()", None),
        ("kind, state_dict_config=input()", None),
        ("kind, optim_state_dict_config=FullOptimStateDictConfig(flag)", None),
        ("(other := kind)", None),
    ],
)
def test_what_says_the_options(arguments: str, expected: str | None) -> None:
    found = carried(arguments)
    text = found.module.text(found.node) if found is not None else None
    assert (text is None) is (expected is None)
    assert expected is None or (text is not None and text.startswith(expected))


def test_a_type_from_outside_says_nothing() -> None:
    plans = find_modes(Analysis(HEAD).solver).plans
    assert [plan.carried for plan in plans.values()] == [None]


@pytest.mark.parametrize(
    ("flags", "only_first"),
    [
        ("flag, flag", False),
        ("flag", True),
        ("rank0_only=flag", True),
        ("not flag, rank0_only=not flag", False),
    ],
)
def test_which_rank_reads(flags: str, only_first: bool) -> None:
    found = carried(f"kind, FullStateDictConfig({flags}) if flag else ShardedStateDictConfig()")
    assert found is not None
    assert found.only_first is only_first
