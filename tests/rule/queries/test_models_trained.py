"""Optimizers, the models that they train, and what is asked about models."""

from __future__ import annotations

import ast

from fsdp_migrate.rule.queries.before_wrap import taken_before_wraps
from fsdp_migrate.rule.queries.models import models_given, models_trained, only_models
from fsdp_migrate.rule.queries.optimizers import (
    forwards,
    library_classes,
    optimizers,
    own_steps,
)
from support.facts import Program

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import MixedPrecision


class Net(nn.Module):
    pass


class Own(torch.optim.Optimizer):
    def step(self):
        pass


net = Net()
"""


def test_models_that_are_trained_before_and_after_the_wrap() -> None:
    asked = Program(
        f"{HEAD}early = torch.optim.SGD(net.parameters())\nmodel = FSDP(net)\n"
        "late = Own(model.parameters())\nother = Own(Net().parameters())\n"
    )
    early, late, *_ = optimizers(asked.facts)
    assert (early.names, late.names) == ({"net"}, {"model"})
    assert early.models == late.models == late.sharded
    assert not early.sharded
    assert library_classes(asked.facts, early.call) == {"torch.optim.SGD"}
    assert list(own_steps(asked.facts, early.call)) == []
    (step,) = own_steps(asked.facts, late.call)
    assert isinstance(step, ast.FunctionDef)
    assert models_trained(asked.facts, early.call.args[0]) == early.models
    assert models_trained(asked.facts, late.call.args[0]) == late.models


def test_calls_of_a_model_and_nothing_else() -> None:
    asked = Program(f"{HEAD}model = FSDP(net)\nmodel(1)\n(model if input() else print)(2)\n")
    ((_, call, models),) = forwards(asked.facts)
    assert ast.unparse(call) == "model(1)"
    assert models == only_models(asked.facts, asked.node("model"))


def test_the_models_that_a_configuration_is_given_to() -> None:
    asked = Program(
        f"{HEAD}one = MixedPrecision()\ntwo = MixedPrecision()\n"
        "model = FSDP(net, mixed_precision=one)\n"
    )
    first, second = asked.nodes("MixedPrecision()")
    assert isinstance(first, ast.Call)
    assert isinstance(second, ast.Call)
    assert models_given(asked.facts, asked.module(), first, "mixed_precision")
    assert not models_given(asked.facts, asked.module(), second, "mixed_precision")


def test_what_comes_too_early_is_said_in_words() -> None:
    asked = Program(
        f"{HEAD}import libs\nopt = torch.optim.SGD(net.parameters())\n"
        "average = libs.Average(net.parameters())\n"
        "params = list(net.parameters())\n"
        "model = FSDP(net)\naverage.update()\nprint(params)\n"
    )
    found = list(taken_before_wraps(asked.facts))
    assert [(early.what, early.is_certain) for early in found] == [
        ("the optimizer", True),
        ("what a library makes of the parameters", False),
        ("the list of parameters", True),
    ]
    assert not any(early.moves for early in found)
    assert [early.switch is not None for early in found] == [True, False, True]
