"""What a mode says, where its type or a flag is no literal."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.state_dict_modes import find_modes
from fsdp_migrate.lowering.state_dict_settings import Setting
from support.programs import Analysis

HEAD = """
from torch import nn
from torch.distributed.fsdp import FullOptimStateDictConfig, FullStateDictConfig
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import ShardedStateDictConfig, StateDictType

model = FSDP(nn.Linear(2, 2))
kind = getattr(StateDictType, input())
"""


def kind_of(text: str) -> str | None:
    """The kind of the last mode of a program, if it is known."""
    plans = find_modes(Analysis(HEAD + text).solver).plans
    setting = plans[max(plans)].setting
    return setting.kind if setting is not None else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("with FSDP.state_dict_type(model, kind):\n    pass", None),
        ("with FSDP.state_dict_type(model, kind, FullStateDictConfig()):\n    pass", "FULL"),
        ("with FSDP.state_dict_type(model, kind, ShardedStateDictConfig()):\n    pass", "SHARDED"),
        (
            "with FSDP.state_dict_type(model, kind, None, FullOptimStateDictConfig()):\n    0",
            "FULL",
        ),
        (
            "if kind == StateDictType.FULL_STATE_DICT:\n"
            "    with FSDP.state_dict_type(model, kind):\n        pass",
            "FULL",
        ),
        (
            "if kind is StateDictType.FULL_STATE_DICT:\n    pass\nelse:\n"
            "    with FSDP.state_dict_type(model, kind):\n        pass",
            "SHARDED",
        ),
        (
            "if kind != StateDictType.FULL_STATE_DICT:\n"
            "    with FSDP.state_dict_type(model, kind):\n        pass",
            None,
        ),
    ],
)
def test_kinds(text: str, expected: str | None) -> None:
    assert kind_of(text) == expected


def test_flags_from_a_dict() -> None:
    text = (
        "flags = dict(offload_to_cpu=True, rank0_only=True)\n"
        "with FSDP.state_dict_type(model, kind, FullStateDictConfig(**flags)):\n    pass"
    )
    plans = find_modes(Analysis(HEAD + text).solver).plans
    assert plans[max(plans)].setting == Setting("FULL", True, True)
