"""Methods that run where parameters are whole, and what they need of that."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Bound
from fsdp_migrate.rule.queries.summoned_methods import runs_whole_parts, uses_parts
from support.facts import Program

HEAD = """
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 3
        self.head = nn.Linear(4, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, x):
        return self.head(x)

    def inner(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def asked(self, x):
        {body}


net = Net()
net.asked(torch.ones(4))
"""


@pytest.mark.parametrize(
    ("body", "uses", "whole"),
    [
        ("return self(x)", False, True),
        ("return self(x) * self.steps", False, True),
        ("return self.head(x)", True, True),
        ("return self.inner(x)", True, True),
        ("return [layer(x) for layer in self.layers]", True, True),
        ("return self.forward(x)", True, True),
        ("return x @ self.head.weight", True, False),
        ("return self.layers[0](x)", True, False),
        ("return [layer.weight for layer in self.layers]", True, False),
        ("return print(self)", True, False),
    ],
)
def test_what_a_method_needs(body: str, uses: bool, whole: bool) -> None:
    program = Program(HEAD.replace("{body}", body))
    value = program.facts.value(program.node("net.asked"))
    (site,) = {atom.func.site for atom in value if isinstance(atom, Bound)}
    assert uses_parts(program.facts, site) is uses
    assert runs_whole_parts(program.facts, site) is whole
