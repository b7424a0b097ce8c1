"""What needs no process group, and says so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fsdp_migrate.runtime as runtime


def test_sharding_needs_a_process_group() -> None:
    with pytest.raises(ValueError, match="init_process_group"):
        runtime.fully_shard_from_fsdp1(nn.Linear(2, 2))


def test_plain_modules_are_served() -> None:
    """One program for one device and for many."""
    model = nn.Linear(2, 2)
    optim = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optim.step()
    with runtime.summon_full_params(model):
        assert runtime.fsdp_modules(model) == []
    state = runtime.model_state_dict(model)
    result = runtime.load_model_state_dict(model, state)
    assert result == ([], [])
    assert str(result) == str(model.load_state_dict(state)), "programs print it"
    states = runtime.optim_state_dict(model, optim)
    assert set(states["state"]) == {"weight", "bias"}
    runtime.load_optim_state_dict(model, optim, states)
    assert not runtime.is_root(model)
    assert runtime.clip_grad_norm_(model, 1e9) > 0


def test_loading_reports_what_is_missing() -> None:
    model = nn.Linear(2, 2)
    result = runtime.load_model_state_dict(model, {"weight": torch.zeros(2, 2)}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == []
