"""Which attributes of parameters a wrap would lose."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.parameter_attributes import ParameterAttributes
from support.programs import Analysis

HEAD = """\
import libs
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.top = nn.Linear(2, 2)


net = Net()
"""
WRAP = "model = FSDP(net, use_orig_params=True)\n"
READ = "marked = [p for p in model.parameters() if hasattr(p, 'mark')]\n"


def lost(body: str) -> set[str]:
    program = Analysis(HEAD + body)
    found = ParameterAttributes(program.solver, tuple(program.project.modules.values()))
    return set().union(*(found.lost_by(fact) for fact in program.solver.wraps.values()))


@pytest.mark.parametrize(
    "mark",
    [
        "net.top.weight.mark = 1\n",
        "for p in net.parameters():\n    p.mark = 1\n",
        "for n, p in net.named_parameters():\n    if n == 'top.bias':\n        p.mark = 1\n",
        "setattr(net.top.bias, 'mark', True)\n",
        "def tag(p):\n    p.mark = 1\n\n\ntag(net.top.weight)\n",
        "def tag(ps):\n    for p in ps:\n        p.mark = 1\n\n\ntag(net.parameters())\n",
    ],
)
def test_a_mark_is_lost(mark: str) -> None:
    assert lost(mark + WRAP + READ) == {"mark"}


@pytest.mark.parametrize(
    "body",
    [
        f"{WRAP}for p in model.parameters():\n    p.mark = 1\n{READ}",
        f"net.top.weight.mark = 1\n{WRAP}",
        f"net.top.weight.mark = 1\nprint(net.top.weight.mark)\n{WRAP}",
        f"net.top.weight.requires_grad = False\n{WRAP}print(model.top.weight.requires_grad)\n",
        f"net.top.mark = 1\n{WRAP}{READ}",
        f"other = Net()\nif False:\n    pass\n{WRAP}{READ}",
        f"net.top.weight.mark = 1\nmodel = FSDP(net)\n{READ}",
    ],
)
def test_nothing_is_lost(body: str) -> None:
    assert lost(body) == set()


def test_a_library_may_read_it() -> None:
    assert lost(f"net.top.weight.mark = 1\n{WRAP}libs.build(model)\n") == {"mark"}


def test_a_name_that_only_the_run_knows() -> None:
    mark = "for p in net.parameters():\n    setattr(p, input(), 1)\n"
    assert lost(mark + WRAP + READ) == {"*"}
