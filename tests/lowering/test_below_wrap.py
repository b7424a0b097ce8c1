"""What becomes of that which takes hold of parameters before a wrap."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.effects import Effects
from fsdp_migrate.lowering.below_wrap import Remedy, remedies
from fsdp_migrate.lowering.parameter_holders import ParameterHolders
from support.programs import Analysis

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    pass


net = Net()
"""
BUILD = "optimizer = torch.optim.SGD(net.parameters())"


def found(body: str) -> list[Remedy]:
    program = Analysis(HEAD + body)
    return list(remedies(Effects(program.solver), ParameterHolders(program.solver)))


def moved(body: str) -> list[list[str]]:
    return [[ast.unparse(statement) for statement in remedy.moved] for remedy in found(body)]


def test_an_optimizer_goes_below() -> None:
    assert moved(f"{BUILD}\nmodel = FSDP(net)\noptimizer.step()\n") == [[BUILD]]


def test_a_list_goes_with_what_is_made_of_it() -> None:
    body = (
        "params = [p for p in net.parameters()]\n"
        "optimizer = torch.optim.SGD(params)\nmodel = FSDP(net)\noptimizer.step()\n"
    )
    assert moved(body) == [
        ["params = [p for p in net.parameters()]"],
        ["optimizer = torch.optim.SGD(params)"],
    ]


def test_a_list_that_nothing_reads_below_stays() -> None:
    assert found("params = [p for p in net.parameters()]\nmodel = FSDP(net)\n") == []


def test_what_it_was_made_of_goes_along() -> None:
    groups = "groups = [{'params': net.parameters()}]"
    build = "optimizer = torch.optim.SGD(groups)"
    (together,) = (
        [
            statement
            for part in moved(f"{groups}\n{build}\nmodel = FSDP(net)\n")
            for statement in part
        ],
    )
    assert together == [groups, build]


def test_parameters_that_would_be_left_behind_stop_it() -> None:
    body = (
        "class State:\n    params = None\n\n\nstate = State()\n\n\n"
        "def collect(module):\n    state.params = [p for p in module.parameters()]\n\n\n"
        "collect(net)\n"
        "optimizer = torch.optim.SGD([*net.parameters(), *state.params])\n"
        "model = FSDP(net)\noptimizer.step()\n"
    )
    remedy = found(body)[-1]
    assert remedy.moved == ()
    assert remedy.reason == "`state.params` holds parameters from before"


def test_an_optimizer_that_has_to_stay_is_switched() -> None:
    body = f"{BUILD}\nwhile not optimizer.param_groups:\n    pass\nmodel = FSDP(net)\n"
    (remedy,) = found(f"{body}optimizer.step()\n")
    assert remedy.moved == ()
    assert remedy.switch is not None
    assert "uses it" in remedy.reason


def test_every_wrap_is_asked_once() -> None:
    body = f"{BUILD}\nflag = input()\nmodel = FSDP(net) if flag else FSDP(net, device_id=0)\n"
    assert len(found(f"{body}optimizer.step()\n")) == 1
