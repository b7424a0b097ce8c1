"""What optimizers hold."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Method, Params
from support.facts import plain
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

OWN = """
class Own(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, dict(lr=lr))

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                use(p, self.state[p]["exp_avg"], group["lr"])


Own(model.parameters(), 0.1)
"""
BARE = OWN.replace("    def __init__(self, params, lr):\n", "").replace(
    "        super().__init__(params, dict(lr=lr))\n\n", ""
)
GROUPS = """
optimizer = torch.optim.SGD({given}, lr=0.1)
for group in optimizer.param_groups:
    for p in group["params"]:
        use(p, optimizer.state[p]["exp_avg"], group["lr"])
"""


@pytest.mark.parametrize(
    "body",
    [
        OWN,
        BARE,
        GROUPS.format(given="model.parameters()"),
        GROUPS.format(given="[{'params': [p for p in model.parameters()], 'lr': 1}]"),
        GROUPS.format(given="[{'params': model.parameters()}]"),
    ],
)
def test_groups_and_state(body: str) -> None:
    program = Analysis(HEAD + body)
    (call,) = program.nodes(plain("use(p, " + body.partition("use(p, ")[2].partition("\n")[0]))
    parameter, state, rate = (program.solver.value(a) for a in call.args)  # type: ignore[attr-defined]
    assert {a.kind for a in parameter if isinstance(a, Params)} == {"one"}
    assert any(isinstance(a, Method) and a.name == "state" for a in state)
    assert not any(isinstance(a, Params | Method) for a in rate)
