"""What keeps parameters and can't go below the wrap is handed the new ones."""

from __future__ import annotations

import pytest

from support.programs import migrate

HEAD = """\
from collections import deque

import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def main(net):
"""
WRAP = "    model = FSDP(net, use_orig_params=True)\n    return model, kept\n"
STAYS = "    while not kept:\n        pass\n"


@pytest.mark.parametrize(
    ("kept", "line"),
    [
        ("list(net.parameters())", "kept[:] = [sharded.get(p, p) for p in kept]"),
        ("net.top.weight", "kept = sharded.get(kept, kept)"),
        ("tuple(net.parameters())", "kept = tuple(sharded.get(p, p) for p in kept)"),
        ("set(net.parameters())", "kept = {sharded.get(p, p) for p in kept}"),
        (
            "{id(p) for p in net.parameters()}",
            "kept = {id(new) for p, new in sharded.items() if id(p) in kept}",
        ),
        (
            "dict(net.named_parameters())",
            "kept.update({name: sharded.get(p, p) for name, p in kept.items()})",
        ),
        (
            "{p: 0.1 for p in net.parameters()}",
            "kept = {sharded.get(p, p): value for p, value in kept.items()}",
        ),
        (
            "[{'params': list(net.parameters())}]",
            'group["params"] = [sharded.get(p, p) for p in group["params"]]',
        ),
    ],
)
def test_new_for_old(kept: str, line: str) -> None:
    after = migrate(f"{HEAD}    kept = {kept}\n{STAYS}{WRAP}").after["train.py"]
    assert "    unsharded = list(net.parameters())\n    model = fully_shard(net)\n" in after
    assert f"    {line}\n" in after


@pytest.mark.parametrize(
    "kept",
    ["deque(net.parameters())", "[id(p) for p in net.parameters()]", "[[*net.parameters()]]"],
)
def test_what_has_no_such_line_is_left(kept: str) -> None:
    run = migrate(f"{HEAD}    kept = {kept}\n{STAYS}{WRAP}")
    assert "fully_shard" not in run.after["train.py"]
    assert any("it keeps parameters" in item.message for item in run.findings)


def test_one_dict_of_pairs_for_all() -> None:
    body = (
        "    kept, rest = [], []\n    for p in net.parameters():\n"
        f"        (kept if p.ndim > 1 else rest).append(p)\n{STAYS}"
        "    model = FSDP(net, use_orig_params=True)\n    return model, kept, rest\n"
    )
    after = migrate(HEAD + body).after["train.py"]
    assert after.count("dict(zip(unsharded") == 1
    assert "kept[:] = " in after
    assert "rest[:] = " in after
