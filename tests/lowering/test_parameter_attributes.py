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


def tied(body: str) -> set[str]:
    program = Analysis(
        HEAD + "import functools\nimport types\n\n\ndef g(p):\n    pass\n\n\n" + body
    )
    found = ParameterAttributes(program.solver, tuple(program.project.modules.values()))
    return set().union(*(found.tied_by(fact) for fact in program.solver.wraps.values()))


@pytest.mark.parametrize(
    "value",
    ["net.top.weight", "p", "g.__get__(p)"],
)
def test_what_holds_a_parameter_is_no_copy(value: str) -> None:
    assert tied(f"for p in net.parameters():\n    p.mark = {value}\n" + WRAP + READ) == {"mark"}


@pytest.mark.parametrize(
    "mark",
    [
        "setattr(net.top.weight, 'mark', types.MethodType(g, net.top.weight))\n",
        "setattr(net.top.weight, 'mark', functools.partial(g, net.top.weight))\n",
        "def tag(p):\n    p.mark = types.MethodType(g, p)\n\n\ntag(net.top.weight)\n",
        "for p in net.parameters():\n    def own():\n        return g(p)\n    p.mark = own\n",
    ],
)
def test_what_is_bound_to_a_parameter_is_no_copy(mark: str) -> None:
    assert tied(mark + WRAP + READ) == {"mark"}


@pytest.mark.parametrize("value", ["1", "g", "p.detach().clone()", "p.shape", "'a'"])
def test_what_holds_no_parameter_is_copied(value: str) -> None:
    body = f"for p in net.parameters():\n    p.mark = {value}\n" + WRAP + READ
    assert lost(body) == {"mark"}
    assert not tied(body)


@pytest.mark.parametrize("name", ["data", "grad", "requires_grad"])
def test_what_every_parameter_has_is_none(name: str) -> None:
    body = f"for p in net.parameters():\n    setattr(p, '{name}', p.{name})\n"
    assert not lost(body + WRAP + f"read = [p.{name} for p in model.parameters()]\n")
