"""What a model may have been made of."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.before_wrap import BeforeWrap
from fsdp_migrate.lowering.modules_inside import modules_of
from fsdp_migrate.lowering.parameter_holders import ParameterHolders
from support.programs import Analysis

HEAD = """\
import copy
import other
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)


class Outer(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net


def wrap(inner):
    made = Outer(inner)
    return FSDP(made)


def put(inner):
    return Outer(inner)


"""
# What is done with `net`, of which something holds the parameters, up to the wrap.
INSIDE = {
    "an argument of the wrap": "model = FSDP(Outer(net))",
    "another module": "outer = Outer(net)\nmodel = FSDP(outer)",
    "a function": "outer = put(net)\nmodel = FSDP(outer)",
    "a function that wraps": "model = wrap(net)",
    "a library": "net = other.convert(net)\nmodel = FSDP(net)",
    "a library, perhaps": "if torch.rand(1) > 0:\n    net = other.lora(net)\nmodel = FSDP(net)",
    "a library, twice": "a = other.lora(net)\nb = other.quantize(a)\nmodel = FSDP(b)",
    "a Sequential": "outer = nn.Sequential(net, nn.Linear(2, 2))\nmodel = FSDP(outer)",
    "a dict": "nets = {'a': net}\nmodel = FSDP(nets['a'])",
    "a list": "nets = []\nnets.append(net)\nmodels = [FSDP(each) for each in nets]",
    "an attribute": "outer = Outer(None)\nouter.net = net\nmodel = FSDP(outer)",
    "setattr": "outer = Outer(None)\nsetattr(outer, 'net', net)\nmodel = FSDP(outer)",
    "add_module": "outer = Outer(None)\nouter.add_module('net', net)\nmodel = FSDP(outer)",
    "a condition": "outer = Outer(net) if torch.rand(1) > 0 else net\nmodel = FSDP(outer)",
    "with more": "head, outer = nn.Linear(2, 2), Outer(net)\nmodel = FSDP(outer)",
}
OUTSIDE = {
    "a copy": "outer = Outer(copy.deepcopy(net))\nmodel = FSDP(outer)",
    "a copy under its name": "net = copy.deepcopy(net)\nmodel = FSDP(net)",
    "another": "outer = Outer(nn.Linear(2, 2))\nmodel = FSDP(outer)",
    "anew": "net = Net()\nmodel = FSDP(net)",
    "its weights": "outer = Net()\nouter.load_state_dict(net.state_dict())\nmodel = FSDP(outer)",
    "a test": "outer = Outer(net is not None)\nmodel = FSDP(outer)",
}


def found(start: str, body: str) -> list[tuple[str, bool]]:
    """The models whose parameters are kept from before, and whether they are inside of others."""
    text = f"{HEAD}net = {start}\nheld = list(net.parameters())\n{body}\n"
    program = Analysis(f"{text}optimizer = torch.optim.SGD(held)\n")
    finder = BeforeWrap(program.solver, ParameterHolders(program.solver))
    taken = [each for fact in program.solver.wraps.values() for each in finder.taken(fact)]
    return [(each.path, each.is_inside) for each in taken if each.kept is not None]


@pytest.mark.parametrize("start", ["Net()", "other.build()", "nn.Linear(2, 2)"])
@pytest.mark.parametrize("body", INSIDE.values(), ids=INSIDE)
def test_what_may_be_inside(start: str, body: str) -> None:
    assert ("net", True) in found(start, body)


@pytest.mark.parametrize("start", ["Net()", "other.build()"])
@pytest.mark.parametrize("body", OUTSIDE.values(), ids=OUTSIDE)
def test_what_is_another(start: str, body: str) -> None:
    assert found(start, body) == []


@pytest.mark.parametrize(
    ("made", "names", "is_open"),
    [
        ("Net()", {"Net"}, False),
        ("other.lora(Net())", {"Net"}, False),
        ("other.lora(unknown)", set[str](), True),
        ("Outer(unknown)", {"Outer"}, True),
    ],
)
def test_the_modules_of_a_model(made: str, names: set[str], is_open: bool) -> None:
    classes_only = HEAD.partition("def wrap")[0]
    program = Analysis(f"{classes_only}def main(unknown):\n    return FSDP({made})\n")
    solver = program.solver
    (fact,) = solver.wraps.values()
    modules, more = modules_of(solver, fact)
    classes = [solver.classes[atom.cls] for atom in modules if hasattr(atom, "cls")]
    assert {info.node.name for info in classes} == names
    assert more is is_open
