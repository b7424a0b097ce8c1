"""Where sharded tensors meet what takes none of their kind."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.sharded_tensors import ShardedTensors
from fsdp_migrate.lowering.tensor_sinks import SinkKind, TensorSinks
from support.programs import Analysis

HEAD = """\
import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    pass


model = FSDP(Net())
"""


def kinds(body: str) -> list[SinkKind]:
    program = Analysis(HEAD + body)
    return [sink.kind for sink in TensorSinks(program.solver, ShardedTensors(program.solver)).all()]


LOOP = "plain = torch.zeros(1)\nfor name, p in model.named_parameters():\n    "


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("p.grad.cpu().numpy()", SinkKind.REFUSED),
        ("np.histogram(p.grad)", SinkKind.REFUSED),
        ("torch.histc(p.grad)", SinkKind.REFUSED),
        ("f'{p.grad.norm():.2f}'", SinkKind.REFUSED),
        ("'{:.2f}'.format(p.grad.norm())", SinkKind.REFUSED),
        ("writer.add_scalar(name, p.grad.norm())", SinkKind.REFUSED),
        ("p.grad.data_ptr()", SinkKind.REFUSED),
        ("p.grad.view(-1)", SinkKind.FLAT),
        ("plain.add_(p.grad.sum())", SinkKind.PLAIN),
        ("plain += p.grad.sum()", SinkKind.PLAIN),
        ("dist.all_reduce(p.grad)", SinkKind.COLLECTIVE),
        ("p.pow(2).sum().backward()", SinkKind.LOSS),
        ("p.grad + torch.ones(3)", SinkKind.MIXED),
        ("anything(p.grad)", SinkKind.UNKNOWN),
    ],
)
def test_kinds(text: str, kind: SinkKind) -> None:
    assert kinds(LOOP + text + "\n") == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "p.mul_(0.9)",
        "p.grad.div_(2)",
        "print(name, f'{name:10}', name.encode())",
        "shadow[name].lerp_(p.detach(), 0.1)",
        "f'{p.numel():,} {p.grad.norm().item():.2f}'",
        "history.append(p.grad.norm())",
        "plain.add_(p.grad.sum().item())",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        "torch.nn.utils.get_total_norm([p.grad])",
        "torch.optim.SGD([p], lr=0.1)",
    ],
)
def test_what_is_none(text: str) -> None:
    assert kinds(LOOP + text + "\n") == []
