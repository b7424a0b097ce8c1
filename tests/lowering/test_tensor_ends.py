"""What is done about each place where sharded tensors end up."""

from __future__ import annotations

from fsdp_migrate.lowering.tensor_sinks import SinkKind
from support.facts import Program

TEXT = """\
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    pass


model = FSDP(Net())
for p in model.parameters():
    dist.all_reduce(p.grad.sum())
    dist.all_reduce(p.grad)
    other(p.grad)
"""


def test_numbers_are_made_local_and_whole_tensors_are_not() -> None:
    found = Program(TEXT).facts.tensor_ends
    kinds = [(sink.kind, local is not None) for sink, local in found.ends]
    assert sorted(kinds, key=str) == sorted(
        [
            (SinkKind.COLLECTIVE, True),
            (SinkKind.COLLECTIVE, False),
            (SinkKind.UNKNOWN, False),
        ],
        key=str,
    )
    assert len(found.local) == 1
