"""Which device is chosen, on machines that this one is not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fsdp_migrate.runtime.devices import devices_per_node, resolve_device

NONE: list[nn.Parameter] = []


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine with four GPUs, the second one current; devices that are made current."""
    made_current = [1]
    accelerator = torch.accelerator
    monkeypatch.setattr(accelerator, "is_available", lambda: True)
    monkeypatch.setattr(accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(accelerator, "current_device_index", lambda: made_current[-1])
    monkeypatch.setattr(accelerator, "set_device_index", made_current.append)
    monkeypatch.setattr(accelerator, "device_count", lambda: 4)
    return made_current


def test_without_accelerator() -> None:
    for device_id in (None, 0, torch.device("cpu"), "cpu"):
        assert resolve_device(device_id, NONE) == torch.device("cpu")
    assert devices_per_node(torch.device("cpu")) == torch.cpu.device_count()


def test_numbers_mean_accelerators(four_gpus: list[int]) -> None:
    assert resolve_device(3, NONE) == torch.device("cuda", 3)
    assert four_gpus == [1, 3], "FSDP2 shards onto the current device"


def test_the_current_device_is_the_default(four_gpus: list[int]) -> None:
    for device_id in (None, 1, torch.device("cuda"), torch.device("cuda", 1), "cuda"):
        assert resolve_device(device_id, NONE) == torch.device("cuda", 1)
    assert four_gpus == [1]
    assert devices_per_node(torch.device("cuda", 1)) == 4


def test_the_cpu_can_be_asked_for(four_gpus: list[int]) -> None:
    assert resolve_device(torch.device("cpu"), NONE) == torch.device("cpu")


def test_parameters_decide(four_gpus: list[int]) -> None:
    on_meta = nn.Parameter(torch.empty(1, device="meta"))
    assert resolve_device(None, [on_meta]) == torch.device("cuda", 1)
