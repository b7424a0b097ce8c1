"""Tests that ask whether something is an FSDP1 model, by the class or by a function."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.model_tests import model_asked_for, truth
from fsdp_migrate.syntax.nodes import nodes_in
from support.programs import Analysis

HEAD = """
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def version(model):
    "Which FSDP it is."
    if isinstance(model, FSDP):
        return 1
    elif FSDPModule is not None and isinstance(model, FSDPModule):
        return 2
    return 0


def is_sharded(model):
    return isinstance(model, FSDP)


def has_name(model):
    if hasattr(model, "name"):
        return True
    return False


def is_loud(model):
    print(model)
    return isinstance(model, FSDP)


class Owner:
    def __init__(self, model):
        self.model = model

    def sharded(self, other):
        return is_sharded(other)


sharded = FSDP(nn.Linear(2, 2))
plain = nn.Linear(2, 2)
either = sharded if input() else nn.Conv1d(1, 1, 1)
"""


def find(test: str) -> tuple[Analysis, ast.expr]:
    """The analysis of a program that asks `test`, and the test."""
    program = Analysis(f"{HEAD}\nif {test}:\n    pass\n")
    found = [node.test for node in nodes_in(program.module().tree) if isinstance(node, ast.If)]
    return program, max(found, key=lambda node: node.lineno)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("isinstance(sharded, FSDP)", True),
        ("not isinstance(sharded, (FSDP, nn.Linear))", False),
        ("version(sharded) == 1", True),
        ("version(sharded) != 1", False),
        ("version(sharded) == 2 or is_sharded(sharded)", True),
        ("FSDP is not None and is_sharded(sharded)", True),
        ("Owner(plain).sharded(sharded)", True),
        ("isinstance(either, FSDP)", None),
        ("isinstance(plain, FSDP)", None),
        ("isinstance(sharded, FSDPModule)", None),
        ("version(sharded) > 0", None),
        ("is_loud(sharded)", None),
        ("has_name(sharded)", None),
    ],
)
def test_what_is_known(test: str, expected: bool | None) -> None:
    program, node = find(test)
    assert truth(program.solver, program.module(), node) is expected


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("isinstance(either, FSDP)", "either"),
        ("version(either) == 1", "either"),
        ("is_sharded(either)", "either"),
        ("isinstance(Owner(either).model, FSDP)", None),
        ("isinstance(either, (FSDP, nn.Linear))", None),
        ("version(either) == 2", None),
        ("version(either)", None),
        ("is_sharded(either) and input()", None),
        ("not is_sharded(either)", None),
        ("has_name(either)", None),
    ],
)
def test_what_is_asked_of(test: str, expected: str | None) -> None:
    program, node = find(test)
    found = model_asked_for(program.solver, program.module(), node)
    assert (ast.unparse(found) if found is not None else None) == expected
