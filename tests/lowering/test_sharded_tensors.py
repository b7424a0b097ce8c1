"""Which tensors are sharded, and from where on."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.sharded_tensors import ShardedTensors
from support.programs import Analysis

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    def ask(self):
        for p in self.parameters():
            use(p)


"""


def is_sharded(body: str) -> bool:
    program = Analysis(HEAD + body)
    sharded = ShardedTensors(program.solver)
    (call,) = program.nodes("use(p)")
    return bool(sharded.models(program.module(), call.args[0]))  # type: ignore[attr-defined]


WRAP = "net = Net()\nmodel = FSDP(net)\n"


@pytest.mark.parametrize(
    ("body", "sharded"),
    [
        (f"{WRAP}model.ask()\n", True),
        (f"{WRAP}net.ask()\n", True),
        ("net = Net()\nnet.ask()\nmodel = FSDP(net)\n", False),
        ("def wrap(net):\n    return FSDP(net)\nnet = Net()\nmodel = wrap(net)\nnet.ask()\n", True),
        (f"{WRAP}with FSDP.summon_full_params(model):\n    model.ask()\n", False),
        ("net = Net()\nnet.ask()\n", False),
    ],
)
def test_from_the_wrap_on(body: str, sharded: bool) -> None:
    assert is_sharded(body) is sharded
