"""Where computations begin, and how they become those of this rank's shards."""

from __future__ import annotations

import pytest

from support.programs import migrate

HEAD = """\
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


"""
MODEL = "    model = FSDP(net, use_orig_params=True)\n"


def after(body: str) -> str:
    run = migrate(HEAD + body)
    return next(iter(run.after.values()), HEAD + body)


def test_a_computation_is_followed_through_functions() -> None:
    text = after(
        "def squared(g):\n    return g.pow(2)\n\n\n"
        f"def norm(net):\n{MODEL}"
        "    parts = [squared(p.grad).sum() for p in model.parameters()]\n"
        "    total = torch.stack(parts).sum()\n"
        "    dist.all_reduce(total)\n"
        "    return total\n"
    )
    assert "g.to_local().pow(2)" in text
    assert text.count("to_local") == 1


def test_what_is_multiplied_with_each_other_becomes_local_together() -> None:
    text = after(
        f"def change(net):\n{MODEL}"
        "    for p in model.parameters():\n"
        "        print((p.grad * p).tolist())\n"
    )
    assert "(p.grad.to_local() * p.to_local()).tolist()" in text


def test_numbers_alone_become_local_alone() -> None:
    text = after(
        f"def change(net):\n{MODEL}"
        "    total = sum(p.grad.pow(2).sum() for p in model.parameters())\n"
        "    dist.all_reduce(total)\n"
        "    for p in model.parameters():\n"
        "        p.grad.div_(total.sqrt())\n"
    )
    assert "p.grad.to_local().pow(2)" in text
    assert "p.grad.div_(total.sqrt())" in text


@pytest.mark.parametrize(
    "body",
    [
        "    for p in model.parameters():\n        p.grad = (p.grad * 2).reshape(-1)\n",
        "    names = dict(model.named_parameters())\n    print(torch.histc(names))\n"
        "    for p in model.parameters():\n        dist.broadcast(p.data, 0)\n",
    ],
)
def test_what_goes_back_or_is_sent_whole_stays(body: str) -> None:
    text = HEAD + f"def change(net):\n{MODEL}{body}"
    run = migrate(text)
    assert not run.changed if hasattr(run, "changed") else run.after.get("train.py", text) == text
