"""Which variables keep parameters, whichever way they came to do so."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.held import Entries, Items, Parameter, Row, Somehow
from fsdp_migrate.lowering.kept_parameters import KeptParameters
from support.programs import Analysis

HEAD = """\
import itertools
from dataclasses import dataclass
from functools import partial

import libs
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.top = nn.Linear(2, 2), nn.Linear(2, 2)
        self.own = nn.Parameter(torch.ones(2))

    def groups(self, rate):
        return [{"params": list(self.top.parameters()), "lr": rate}]

    @property
    def biases(self):
        return [self.body.bias, self.top.bias]


@dataclass
class Groups:
    decay: list


def chosen(module):
    for p in module.parameters():
        if p.requires_grad:
            yield p


def collect(module, into):
    for p in module.parameters():
        into.append(p)


net = Net()
"""
NET = frozenset({"net"})
ITSELF = Parameter(NET)


def kept(body: str) -> dict[str, object]:
    """What the variables of a program keep, by name."""
    program = Analysis(HEAD + body)
    found = KeptParameters(program.solver)
    module = program.module()
    return {
        path: found.held(one, path)
        for one in found.in_scope(module, module.tree)
        for path in one.paths
    }


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("list(net.parameters())", Items(ITSELF)),
        ("[p for p in net.parameters() if p.ndim > 1]", Items(ITSELF)),
        ("[p for _, p in net.named_parameters()]", Items(ITSELF)),
        ("filter(lambda p: p.requires_grad, net.parameters())", Items(ITSELF)),
        ("itertools.chain(net.parameters(), net.parameters())", Items(ITSELF)),
        ("{id(p) for p in net.parameters()}", Items(Parameter(NET, is_id=True))),
        ("set(map(id, net.parameters()))", Items(Parameter(NET, is_id=True))),
        ("dict(net.named_parameters())", Entries(None, ITSELF)),
        ("{p: 0.1 for p in net.parameters()}", Entries(ITSELF, None)),
        ("list(net.named_parameters())", Items(Row((None, ITSELF)))),
        ("[{'params': net.parameters(), 'lr': 1}]", Items(Entries(None, Items(ITSELF)))),
        ("[*net.parameters()][:2]", Items(ITSELF)),
        ("net.body.weight", Parameter(frozenset({"net.body"}))),
        ("net.own", ITSELF),
        ("net.groups(0.1)[0]['params']", Items(Parameter(frozenset({"net.top"})))),
        ("list(chosen(net))", Items(ITSELF)),
        ("partial(torch.optim.SGD, list(net.parameters()))", Somehow(NET)),
        ("lambda p, own=1: [net.own for q in range(own)]", None),
        ("[p.clone() for p in net.parameters()]", None),
        ("[p.data for p in net.parameters()]", None),
        ("[n for n, _ in net.named_parameters()]", None),
        ("{n: p.shape for n, p in net.named_parameters()}", None),
        ("sum(p.numel() for p in net.parameters())", None),
        ("libs.list(net.parameters())", None),
        ("len(list(net.parameters()))", None),
    ],
)
def test_what_a_value_keeps(value: str, held: object) -> None:
    assert kept(f"made = {value}\n").get("made") == held


@pytest.mark.parametrize(
    "body",
    [
        "made = []\nfor p in net.parameters():\n    made.append(p)\n",
        "made, rest = [], []\nfor p in net.parameters():\n    (made if p else rest).append(p)\n",
        "made = []\nmade += list(net.parameters())\n",
        "made = []\nmade.extend(net.parameters())\n",
        "made = []\ncollect(net, made)\n",
        "made, count = list(net.parameters()), 2\n",
        "params = list(net.parameters())\nmade = params\n",
    ],
)
def test_lists_that_are_filled(body: str) -> None:
    assert kept(body)["made"] == Items(ITSELF)


def test_dicts_that_are_filled() -> None:
    body = (
        "made = {}\nfor n, p in net.named_parameters():\n"
        "    made.setdefault(n[0], {'params': []})['params'].append(p)\n"
    )
    assert isinstance(kept(body)["made"], Entries)


def test_ids_in_a_closure() -> None:
    assert "is_top" in kept("ids = {id(net.own)}\nis_top = lambda p: id(p) in ids\n")
