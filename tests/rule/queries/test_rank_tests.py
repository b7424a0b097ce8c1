"""Tests of the rank that a place depends on."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.rank_tests import is_rank, rank_test
from support.facts import Program

HEAD = "import torch.distributed as dist\n\n\ndef main(rank, ranking, job):\n    "


@pytest.mark.parametrize(
    "body",
    [
        "if rank == 0:\n        save()",
        "if not rank:\n        save()",
        "if rank == 0 and job:\n        save()",
        "if rank != 0:\n        pass\n    else:\n        save()",
        "if dist.get_rank() != 0:\n        return\n    save()",
        "me = dist.get_rank()\n    save() if me == 0 else None",
        "if job.rank == 0:\n        save()",
        "first = rank == 0\n    if first:\n        save()",
        "first = dist.get_rank() == 0 and job\n    if not first:\n        return\n    save()",
    ],
)
def test_code_that_one_rank_runs(body: str) -> None:
    asked = Program(HEAD + body)
    assert rank_test(asked.facts, asked.module(), asked.call("save()")) is not None


@pytest.mark.parametrize(
    "body",
    [
        "if rank == 1:\n        save()",
        "if rank != 0:\n        save()",
        "if rank == 0 or job:\n        save()",
        "if rank == 0:\n        pass\n    save()",
        "for rank in ranking:\n        if rank == 0:\n            save()",
        "[save() for rank in ranking if rank == 0]",
        "if rank == 0:\n        def later():\n            save()",
        "if save() == rank:\n        pass",
        "first = rank == 0\n    if job:\n        first = True\n    if first:\n        save()",
        "first = rank == 0\n    rank = 1\n    if first:\n        save()",
    ],
)
def test_code_that_others_run_too(body: str) -> None:
    asked = Program(HEAD + body)
    assert rank_test(asked.facts, asked.module(), asked.call("save()")) is None


def test_a_literal_is_no_rank() -> None:
    asked = Program("rank = 0\nprint(rank)\n")
    assert not is_rank(asked.facts, asked.module(), asked.node("rank"))


NAMED = """
import torch.distributed as dist

def is_main():
    return dist.get_rank() == 0

class Job:
    def __init__(self, rank):
        self.first = rank == 0

    @property
    def main(self):
        return self.first

    def run(self):
        if {test}:
            save()

Job(dist.get_rank()).run()
"""


@pytest.mark.parametrize("test", ["is_main()", "self.first", "self.main", "self.main and True"])
def test_a_test_under_a_name(test: str) -> None:
    asked = Program(NAMED.format(test=test))
    assert rank_test(asked.facts, asked.module(), asked.call("save()")) is not None


@pytest.mark.parametrize("test", ["self.main or True", "self.second", "not self.main"])
def test_what_is_no_such_test(test: str) -> None:
    asked = Program(NAMED.format(test=test))
    assert rank_test(asked.facts, asked.module(), asked.call("save()")) is None
