"""What takes hold of parameters before the model is wrapped."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.before_wrap import BeforeWrap, TakenBeforeWrap, keeps_model, loads
from fsdp_migrate.lowering.parameter_holders import ParameterHolders
from support.programs import Analysis

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    pass


"""
START = HEAD.count("\n")


def taken(body: str) -> list[TakenBeforeWrap]:
    program = Analysis(HEAD + body)
    finder = BeforeWrap(program.solver, ParameterHolders(program.solver))
    return [found for fact in program.solver.wraps.values() for found in finder.taken(fact)]


def lines(body: str) -> list[tuple[int, int, str]]:
    """The lines of what is taken and of the wrap, from the end of the head, and the model."""
    return [
        (found.statement.lineno - START, found.below.lineno - START, found.path)
        for found in taken(body)
    ]


def test_an_optimizer_above_the_wrap() -> None:
    body = (
        "net = Net()\noptimizer = torch.optim.SGD(net.parameters())\nmodel = FSDP(net)\n"
        "optimizer.step()\n"
    )
    assert lines(body) == [(2, 3, "net")]
    (found,) = taken(body)
    assert found.holder is not None


@pytest.mark.parametrize(
    "body",
    [
        "net = Net()\nmodel = FSDP(net)\noptimizer = torch.optim.SGD(model.parameters())\n",
        "net = Net()\nold = torch.optim.SGD(Net().parameters())\nmodel = FSDP(net)\n",
        "net = Net()\nopt = torch.optim.SGD(net.parameters())\nnet = Net()\nmodel = FSDP(net)\n",
        "def f():\n    torch.optim.SGD(net.parameters())\n\nnet = Net()\nmodel = FSDP(net)\n",
    ],
)
def test_nothing_is_too_early(body: str) -> None:
    assert lines(body) == []


def test_one_that_is_built_anew_below_is_in_nobody_s_way() -> None:
    body = (
        "net = Net()\nopt = torch.optim.SGD(net.parameters())\nmodel = FSDP(net)\n"
        "opt = torch.optim.SGD(model.parameters())\n"
    )
    assert lines(body) == []


def test_both_may_stand_in_functions_of_their_own() -> None:
    body = (
        "def build(module):\n    return torch.optim.SGD(module.parameters())\n\n\n"
        "def shard(module):\n    return FSDP(module)\n\n\n"
        "net = Net()\noptimizer = build(net)\nmodel = shard(net)\noptimizer.step()\n"
    )
    assert set(lines(body)) == {(10, 11, "net")}


def test_a_list_of_parameters_counts_as_well() -> None:
    body = "net = Net()\nparams = [p for p in net.parameters()]\nmodel = FSDP(net)\nprint(params)\n"
    (found,) = taken(body)
    assert found.holder is None
    assert (found.statement.lineno - START, found.path) == (2, "net")


def test_branches_with_the_same_test_run_together() -> None:
    body = (
        "net = Net()\nflag = input()\n"
        "if flag:\n    opt = torch.optim.SGD(net.parameters())\n"
        "if {}:\n    model = FSDP(net)\n    opt.step()\n"
    )
    assert lines(body.format("flag")) == [(3, 5, "net")]
    assert lines(body.format("not flag")) == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("net = net.cuda()", True),
        ("net = torch.compile(net)", True),
        ("net = other.cuda()", False),
        ("net = Net()", False),
        ("if flag:\n    net = net.half()", True),
        ("if flag:\n    net = Net()", False),
        ("for net in nets:\n    pass", False),
    ],
)
def test_statements_that_keep_a_model_as_it_is(text: str, kept: bool) -> None:
    program = Analysis(f"{HEAD}net = Net()\nother = Net()\nflag = input()\n{text}\n")
    statement = program.module().tree.body[-1]
    assert keeps_model(program.solver, statement, "net") is kept


def test_what_is_read_may_lie_below_the_path() -> None:
    assert loads(ast.parse("f(net.body.parameters())"), "net.body")
    assert not loads(ast.parse("f(network.parameters())"), "net")
    assert not loads(ast.parse("net = 1"), "net")


TWICE = """\
def build(net):
    made = {made}
    model = FSDP(made)
    return model, torch.optim.SGD(made.parameters())


first, one = build(Net())
second, two = build(Net())
one.step()
"""


def test_each_call_of_a_function_makes_a_model_of_its_own() -> None:
    assert lines(TWICE.format(made="Net()")) == []


def test_both_calls_of_a_function_may_be_given_one_model() -> None:
    shared = TWICE.replace("build(Net())", "build(net)").replace("first,", "net = Net()\nfirst,")
    assert lines(shared.replace("made", "net").replace("    net = {net}\n", "")) == [(7, 8, "net")]
