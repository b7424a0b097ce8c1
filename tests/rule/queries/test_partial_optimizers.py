"""Which optimizers have some of the parameters of a model that FSDP1 did not shard."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.partial_optimizers import keeps_cleared_gradients
from support.facts import Program

TEXT = """
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy


def every(model):
    return [p for n, p in model.named_parameters()]


net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
model = FSDP(net, sharding_strategy=ShardingStrategy.{strategy}, use_orig_params=True)
{optimizer}
with model.no_sync():
    model(x).sum().backward()
"""


def _is_said(optimizer: str, strategy: str = "NO_SHARD") -> bool:
    facts = Program(TEXT.format(optimizer=optimizer, strategy=strategy)).facts
    (use,) = (use for use in facts.uses if use.name == "no_sync")
    return keeps_cleared_gradients(facts, use)


@pytest.mark.parametrize(
    "given",
    [
        "model.module[1].parameters()",
        "net[0].parameters()",
        "[p for n, p in model.named_parameters() if 'bias' in n]",
        "[{'params': model.module[1].parameters(), 'lr': 0.1}]",
        "[model.module[1].weight]",
        "[p for p in [model.module[1].bias]]",
    ],
)
def test_some_of_the_parameters(given: str) -> None:
    assert _is_said(f"optimizer = torch.optim.SGD({given})")
    assert not _is_said(f"optimizer = torch.optim.SGD({given})", "FULL_SHARD")


@pytest.mark.parametrize(
    "given",
    [
        "model.parameters()",
        "net.parameters()",
        "[p for p in model.parameters() if p.requires_grad]",
        "filter(lambda p: p.requires_grad, model.parameters())",
        "every(model)",
        "[{'params': [p for p in model.parameters() if p.ndim > 1]}, "
        "{'params': [p for p in model.parameters() if p.ndim < 2]}]",
    ],
)
def test_all_of_them(given: str) -> None:
    assert not _is_said(f"optimizer = torch.optim.SGD({given})")
