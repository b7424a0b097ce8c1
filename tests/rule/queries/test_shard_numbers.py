"""Which numbers of the ranks' own shards make that of the whole."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.tensor_ends import KINDS, ends
from support.facts import Program

HEAD = """\
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(nn.Linear(4, 4), use_orig_params=True)
params = model.parameters()
"""
OF_THE_WHOLE = (
    "t = sum(p.grad.norm() ** 2 for p in params)\ndist.all_reduce(t)",
    "n = torch.stack([p.grad.norm() for p in params])\nt = n.pow(2).sum()\ndist.all_reduce(t)",
    "t = sum(p.grad.norm(1) for p in params) * 0.5\ndist.all_reduce(t)",
    "t = sum((p.grad > 0.1).sum() for p in params)\ndist.all_reduce(t, dist.ReduceOp.AVG)",
    "n = next(params).grad.norm()\nt = n * n\ndist.all_reduce(t)\nprint(t.sqrt())",
    "t = max(p.grad.abs().max() for p in params)\ndist.all_reduce(t, op=dist.ReduceOp.MAX)",
    "t = next(params).grad.norm(float('inf'))\ndist.all_reduce(t, op=dist.ReduceOp.MAX)",
)
OF_THE_CUT = (
    "t = sum(p.grad.norm() for p in params)\ndist.all_reduce(t)",
    "t = sum(p.grad.norm() for p in params)\ndist.all_reduce(t)\nt = t ** 2",
    "t = sum(p.grad.norm() for p in params) ** 2\ndist.all_reduce(t)",
    "n = torch.stack([p.grad.norm() for p in params])\nt = n.sum() ** 2\ndist.all_reduce(t)",
    "t = sum(p.grad.sum() for p in params) ** 2\ndist.all_reduce(t)",
    "t = sum(p.grad.norm(2) for p in params) * 0.5\ndist.all_reduce(t)",
    "t = sum(p.grad.abs().max() for p in params)\ndist.all_reduce(t)",
    "t = sum(p.grad.abs().mean() for p in params)\ndist.all_reduce(t)",
    "t = sum(p.grad.abs().sum() for p in params)\ndist.all_reduce(t, op=dist.ReduceOp.MAX)",
    "t = max(p.grad.abs().max() for p in params)\ndist.all_reduce(t, op=which)",
    "t = sum(p.grad.square().sum() for p in params)\ndist.broadcast(t, 0)",
)


@pytest.mark.parametrize(
    ("text", "adds_up"),
    [*((text, True) for text in OF_THE_WHOLE), *((text, False) for text in OF_THE_CUT)],
)
def test_how_numbers_are_put_together(text: str, adds_up: bool) -> None:
    found = list(ends(Program(f"{HEAD}{text}\n").facts))
    assert [end.adds_up for end in found if end.kind is KINDS.COLLECTIVE] == [adds_up]
