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
    """Whether `p` in the program's last `use(p)` is."""
    program = Analysis(HEAD + body)
    sharded = ShardedTensors(program.solver)
    call = max(program.nodes("use(p)"), key=lambda node: node.lineno)  # type: ignore[attr-defined]
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


@pytest.mark.parametrize(
    "loop",
    [
        "for m in net.modules():\n    held.append(m.weight)\n",
        "for m in net.children():\n    held.extend(m.parameters())\n",
        "for name, m in net.named_modules():\n"
        "    if isinstance(m, nn.Linear):\n        held.append(m.weight)\n",
        "for m in net.modules():\n    for name, p in m.named_parameters():\n"
        "        held.append(p)\n",
        "held += [p for m in net.modules() for p in m.parameters(recurse=False)]\n",
        "held.append(list(net.named_children())[0][1].bias)\n",
    ],
)
def test_parameters_that_submodules_were_asked_for_before_the_wrap(loop: str) -> None:
    """They become the model's all the same, whichever of its modules they are of."""
    assert is_sharded(
        f"net = Net()\nheld = []\n{loop}model = FSDP(net)\nfor p in held:\n    use(p)\n"
    )
