"""Optimizers that come with the model, from nobody knows where."""

from __future__ import annotations

import pytest

from support.programs import migrate

HEAD = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n\n\n"
STEP = "    optimizer.step()\n    optimizer.zero_grad()\n"
GROUPS = "    for group in optimizer.param_groups:\n"


@pytest.mark.parametrize("default", ["", "=None"])
def test_it_is_handed_the_new_parameters(default: str) -> None:
    body = f"def fit(net, optimizer{default}):\n    model = FSDP(net, use_orig_params=True)\n{STEP}"
    after = migrate(HEAD + body).after["train.py"]
    assert GROUPS in after
    assert ("if optimizer is not None" in after) == bool(default)


@pytest.mark.parametrize(
    "body",
    [
        f"def fit(net, optimizer):\n    model = FSDP(net)\n{STEP}",
        "def fit(net, clock):\n    model = FSDP(net, use_orig_params=True)\n    clock.step()\n",
        "def fit(net, optimizer):\n    model = FSDP(net, use_orig_params=True)\n"
        f"    optimizer = optimizer(model.parameters())\n{STEP}",
        "def fit(optimizer):\n    model = FSDP(make(), use_orig_params=True)\n" + STEP,
    ],
)
def test_it_is_no_optimizer_from_before(body: str) -> None:
    assert "param_groups" not in migrate(HEAD + body).after["train.py"]
