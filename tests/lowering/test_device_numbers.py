"""Numbers of devices, told from devices of any number."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.device_numbers import has_number
from support.programs import Analysis

PROGRAM = """\
import argparse
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

parser = argparse.ArgumentParser()
parser.add_argument("--local-rank", type=int)
parser.add_argument("--device", default="cuda")
args = parser.parse_args()


@dataclass
class Config:
    gpu: int
    device: torch.device


def worker(rank, size):
    use(rank)


mp.spawn(worker, args=(2,))


def build(number: int, some, rank, config: Config, flag):
    {line}
    use({device})


def use(device):
    pass
"""


def answer(device: str, line: str = "pass") -> bool | None:
    """What is known about `device`, below `line`."""
    program = Analysis(PROGRAM.replace("{line}", line).replace("{device}", device))
    node = list(program.nodes(ast.unparse(ast.parse(f"use({device})"))))[-1]
    return has_number(program.solver, program.module(), node.args[0])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "device",
    [
        "0",
        'int(os.environ["LOCAL_RANK"])',
        "dist.get_rank()",
        "dist.get_rank() % torch.cuda.device_count()",
        "some % torch.cuda.device_count()",
        "some + 1",
        "number",
        "args.local_rank",
        "config.gpu",
        '"cuda:1"',
        'torch.device(f"cuda:{some}")',
        'torch.device("cuda", some)',
        "torch.device(1)",
        'torch.device("cuda:0")',
        "dist.get_rank() if flag else 0",
    ],
)
def test_numbers(device: str) -> None:
    assert answer(device) is True


@pytest.mark.parametrize("device", ['torch.device("cuda")', '"cuda"', "torch.device('cpu')"])
def test_devices_of_any_number(device: str) -> None:
    assert answer(device) is False


@pytest.mark.parametrize(
    "device", ["some", "rank", "args.device", "some.gpu_id", "config.device", "some[0]"]
)
def test_names_say_nothing(device: str) -> None:
    assert answer(device) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('where = int(os.environ["LOCAL_RANK"])', True),
        ('where = torch.device("cuda")', False),
        ("where = some if flag else None", None),
        ("where = 0 if flag else torch.device('cuda')", None),
        ("where: int = some", True),
        ("for where in range(3): pass", True),
        ("where = some; where == 0", True),
        ("where = some; dist.init_process_group(rank=where)", True),
        ("where = where % 2", True),
    ],
)
def test_variables(line: str, expected: bool | None) -> None:
    assert answer("where", line) is expected


def test_the_rank_that_spawned_processes_are_given() -> None:
    program = Analysis(PROGRAM.replace("{line}", "pass").replace("{device}", "0"))
    (node,) = (n.args[0] for n in program.nodes("use(rank)"))  # type: ignore[attr-defined]
    assert has_number(program.solver, program.module(), node) is True
