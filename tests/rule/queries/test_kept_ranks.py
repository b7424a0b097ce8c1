"""What a model's ranks are kept as, on the model."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.kept_ranks import kept_as
from support.facts import Program

HEAD = """
import os
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

KIND = ShardingStrategy[os.environ["KIND"]]
"""


def name_of(text: str) -> str | None:
    program = Program(HEAD + text)
    use = next(u for u in program.facts.uses if u.name == "rank")
    assert isinstance(use.receiver, ast.expr)
    return kept_as(program.facts, use.module, use.receiver, use.wraps, "rank")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model = FSDP(Net(), sharding_strategy=KIND)\nmodel.rank", "rank"),
        ("model = FSDP(nn.Linear(4, 4), sharding_strategy=KIND)\nmodel.rank", "rank"),
        ("def f(net):\n    m = FSDP(net, sharding_strategy=KIND)\n    return m.rank", "fsdp_rank"),
        (
            "def f(m):\n    return m.rank\nmodel = FSDP(Net(), sharding_strategy=KIND)\nf(model)",
            "rank",
        ),
        (
            "class T:\n    def __init__(self):\n        self.model = FSDP(Net())\n"
            "    def f(self):\n        return self.model.rank",
            "rank",
        ),
        ("print(FSDP(Net(), sharding_strategy=KIND).rank)", None),
        ("model = FSDP(Net())\nfor m in FSDP.fsdp_modules(model):\n    m.rank", None),
        ("model = FSDP(Net())\n[m.rank for m in FSDP.fsdp_modules(model)]", None),
        (
            "def f(m):\n    return m.rank\nmodel = FSDP(Net())\n"
            "for m in FSDP.fsdp_modules(model):\n    f(m)",
            None,
        ),
        ("model = FSDP(Net(), ignored_modules=[net])\nmodel.rank", None),
    ],
)
def test_name(text: str, name: str | None) -> None:
    assert name_of(text) == name
