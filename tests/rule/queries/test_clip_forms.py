"""Which function clips in the place of a model's method."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.clip_forms import Order, order_of, written_for_call
from support.facts import Program

HEAD = """\
import math
import sys

import torch
from torch import nn
from torch.distributed.fsdp import CPUOffload, FullyShardedDataParallel as FSDP

"""


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("", Order.FINITE),
        (", 1", Order.FINITE),
        (", norm_type=2.0", Order.FINITE),
        (", math.inf", Order.MAXIMUM),
        (', norm_type=float("inf")', Order.MAXIMUM),
        (", norm_type=torch.inf", Order.MAXIMUM),
        (", float(sys.argv[1])", Order.UNKNOWN),
        (", **{}", Order.UNKNOWN),
    ],
)
def test_order(order: str, expected: Order) -> None:
    program = Program(f"{HEAD}model = FSDP(nn.Linear(4, 4))\nmodel.clip_grad_norm_(1.0{order})\n")
    assert order_of(program.use("clip_grad_norm_"), program.facts) is expected


@pytest.mark.parametrize(
    ("arguments", "own"),
    [("", True), (", process_group=group", False), (", cpu_offload=CPUOffload(True)", False)],
)
def test_all_ranks_on_the_gpu(arguments: str, own: bool) -> None:
    program = Program(
        f"{HEAD}def f(net, group):\n    model = FSDP(net{arguments})\n"
        "    model.clip_grad_norm_(1.0, math.inf)\n"
    )
    written = written_for_call(program.use("clip_grad_norm_"), program.facts)
    assert written is not None
    assert (written.definition is not None) is own
    assert written.words
