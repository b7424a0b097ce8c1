"""Whether statements above a wrap can go below it without anything noticing."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.effects import Effects
from fsdp_migrate.lowering.moving import CannotMove, Move
from support.programs import Analysis

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
)


class Net(nn.Module):
    pass


net = Net()
rate = 0.1
"""


def moved(body: str, wrap: str = "model = FSDP(net)") -> list[str]:
    """The statements that go below the last one, when the first one has to."""
    program = Analysis(f"{HEAD}{body}\n{wrap}\n")
    module = program.module()
    below = module.tree.body[-1]
    count = len(ast.parse(body).body)
    seed = module.tree.body[-1 - count]
    (fact,) = program.solver.wraps.values()
    move = Move(program.solver, Effects(program.solver), module, [seed], below, "net", fact.inner)
    return [ast.unparse(statement) for statement in move.statements()]


BUILD = "optimizer = torch.optim.SGD(net.parameters(), lr=rate)"


@pytest.mark.parametrize(
    "between",
    [
        "",
        "batch = torch.zeros(2)",
        "net = net.cuda()",
        "net.train()",
        "print('building')",
        "apply_activation_checkpointing(net)",
    ],
)
def test_statements_that_have_nothing_to_do_with_it_are_passed(between: str) -> None:
    assert moved(f"{BUILD}\n{between}") == [BUILD]


def test_what_depends_on_it_goes_along() -> None:
    scheduler = "scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)"
    assert moved(f"{BUILD}\nx = 1\n{scheduler}") == [BUILD, scheduler]


@pytest.mark.parametrize(
    ("body", "wrap", "reason"),
    [
        (f"{BUILD}\nrate = 0.2", "model = FSDP(net)", "changes what it reads"),
        (f"{BUILD}\nwhile not optimizer.param_groups:\n    pass", "model = FSDP(net)", "uses it"),
        (f"{BUILD}; x = 1", "model = FSDP(net)", "two statements"),
        (f"{BUILD}\nnet.add_module('a', Net())", "model = FSDP(net)", "may change what it reads"),
        (
            "params = [p for p in net.parameters() if p.requires_grad]\nnet.bias.requires_grad = 0",
            "model = FSDP(net)",
            "may change what it reads",
        ),
        ("optimizer = open(net.parameters())", "model = FSDP(net)", "may do more than build it"),
        ("net, optimizer = 1, torch.optim.SGD([])", "model = FSDP(net)", "binds the model"),
        (BUILD, "model = FSDP(net, device_id=optimizer)", "the statement that wraps the model"),
        (BUILD, "rate, model = 1, FSDP(net)", "the statement that wraps the model"),
    ],
)
def test_the_reason_is_said_where_something_would_notice(body: str, wrap: str, reason: str) -> None:
    with pytest.raises(CannotMove, match=reason):
        moved(body, wrap)


def test_lines_are_printed_in_their_order() -> None:
    with pytest.raises(CannotMove, match="printed in another order"):
        moved("print(net)\nprint('wrapping')")


def test_names_of_parameters_may_change_in_between() -> None:
    by_name = ast.unparse(ast.parse("names = [name for name, _ in net.named_parameters()]"))
    assert moved(by_name) == [by_name]
    with pytest.raises(CannotMove, match="names of parameters change"):
        moved(f"{by_name}\napply_activation_checkpointing(net)")


def test_the_name_may_be_another_model_s_below() -> None:
    with pytest.raises(CannotMove, match="may be something else"):
        moved("weight = net.weight", "net = (FSDP(net), 1)[1]")
