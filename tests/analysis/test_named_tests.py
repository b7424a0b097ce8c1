"""Tests that stand under a name, found by what is known of a program."""

from __future__ import annotations

import ast

import pytest

from support.facts import Program

HEAD = """
import torch.distributed as dist

def is_first(rank):
    return rank == 0

class Job:
    def __init__(self, rank):
        self.first = is_first(rank)
        self.often = rank > 1
        self.often = rank > 2

    @property
    def main(self):
        return self.first

    def run(self, rank):
        last = rank == 3
        {use}

Job(dist.get_rank()).run(1)
"""


def _found(use: str) -> str | None:
    asked = Program(HEAD.format(use=f"print({use})"))
    module, node = asked.module(), asked.call(f"print({use})").args[0]
    named = asked.facts.analysis.named_tests.find(
        module, module.function(node) or module.tree, node
    )
    return ast.unparse(named.test) if named is not None else None


@pytest.mark.parametrize(
    ("use", "test"),
    [
        ("last", "rank == 3"),
        ("self.first", "is_first(rank)"),
        ("self.main", "self.first"),
        ("is_first(rank)", "rank == 0"),
        ("is_first(rank=rank)", "rank == 0"),
    ],
)
def test_a_name_for_a_test(use: str, test: str) -> None:
    assert _found(use) == test


@pytest.mark.parametrize(
    "use", ["rank", "self.often", "self.run", "is_first(*[rank])", "print(rank)", "rank == 0"]
)
def test_what_is_no_name_for_a_test(use: str) -> None:
    assert _found(use) is None
