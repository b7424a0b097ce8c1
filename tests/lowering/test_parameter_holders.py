"""What is given a model's parameters and keeps them, and whose they are."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.parameter_holders import Holder, ParameterHolders, parameter_calls
from support.programs import Analysis

HEAD = """\
import functools
import itertools

import libs
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    pass


class Own(torch.optim.Optimizer):
    pass


net = Net()
"""


def holders(body: str) -> list[Holder]:
    return ParameterHolders(Analysis(HEAD + body).solver).all


@pytest.mark.parametrize(
    "body",
    [
        "torch.optim.SGD(net.parameters())\n",
        "kind = torch.optim.SGD\nkind(net.parameters())\n",
        "functools.partial(torch.optim.SGD, lr=1)(net.parameters())\n",
        "getattr(torch.optim, input())(net.parameters())\n",
        "Own([{'params': [p for p in net.parameters()]}])\n",
        "libs.create(net.parameters()).step()\n",
        "model = FSDP(net)\ntorch.optim.SGD(net)\n",
    ],
)
def test_optimizers_are_found_by_what_is_called(body: str) -> None:
    (holder,) = holders(body)
    assert holder.is_optimizer
    assert holder.paths == {"net"}
    assert holder.owners


@pytest.mark.parametrize(
    "body",
    [
        "optim = dict\noptim(params=net.parameters())\n",
        "adam = sum(p.numel() for p in net.parameters())\n",
        "torch.optim.SGD([torch.zeros(2)])\n",
        "torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)\n",
        "torch.optim.lr_scheduler.StepLR(libs.make(), 1)\n",
    ],
)
def test_other_calls_are_not(body: str) -> None:
    assert holders(body) == []


def test_an_object_that_may_keep_them_is_no_optimizer() -> None:
    (holder,) = holders("libs.Average(net.parameters()).update()\n")
    assert not holder.is_optimizer


def test_a_model_that_a_library_makes_of_another_is_no_holder() -> None:
    assert (
        holders("model = libs.adapted(net)\nmodel.step()\nmodel = FSDP(model)\nFSDP(net)\n") == []
    )


def test_the_model_is_named_where_the_groups_are_made() -> None:
    (holder,) = holders(
        "params = [p for p in net.parameters()]\n"
        "groups = [{'params': params}]\n"
        "optimizer = torch.optim.AdamW(groups)\n"
    )
    assert holder.paths == {"net"}


def test_calls_of_parameters_by_path() -> None:
    tree = ast.parse("f(a.b.parameters(), c[0].parameters(), d.named_parameters())")
    assert sorted(path for path, _ in parameter_calls(tree)) == ["a.b", "c", "d"]
