"""Models that can't be of two generations: one that stays keeps the other."""

from __future__ import annotations

import pytest

from support.programs import migrate

HEAD = """\
import itertools

import registry
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def make_optimizer(params):
    return torch.optim.AdamW(params, lr=1e-3)


def optimizer_of(net):
    return torch.optim.AdamW(net.parameters(), lr=1e-3)


def blend(ours, theirs):
    ours += 0.1 * (theirs - ours)


class Outer(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner


one = FSDP(nn.Linear(2, 2), use_orig_params=True)
"""
TWO = "two = FSDP(nn.Linear(2, 2), use_orig_params=True)\n"
LEFT = "print(two._handle)\n"

TOGETHER = {
    "a display": "torch.optim.SGD([*one.parameters(), *two.parameters()])",
    "a sum": "torch.optim.SGD(list(one.parameters()) + list(two.parameters()))",
    "a chain": "torch.optim.SGD(itertools.chain(one.parameters(), two.parameters()))",
    "a comprehension": "torch.optim.SGD([p for net in (one, two) for p in net.parameters()])",
    "a function's": "make_optimizer(list(one.parameters()) + list(two.parameters()))",
    "a loop": (
        "params = []\nfor net in (one, two):\n    params.extend(net.parameters())\n"
        "torch.optim.Adam(params, lr=1e-3)"
    ),
    "a list of modules": "torch.optim.SGD(nn.ModuleList([one, two]).parameters())",
    "one of two groups": (
        "torch.optim.SGD([{'params': [*one.parameters(), *two.parameters()]}, {'params': []}])"
    ),
    "a clip": "nn.utils.clip_grad_norm_([*one.parameters(), *two.parameters()], 1.0)",
    "a scaler": (
        "groups = [{'params': one.parameters()}, {'params': two.parameters()}]\n"
        "torch.amp.GradScaler('cuda').step(torch.optim.SGD(groups))"
    ),
    "an average": "for p, q in zip(one.parameters(), two.parameters()):\n    q.mul_(0.9).add_(p)",
    "an average by name": (
        "for name, p in one.named_parameters():\n    two.get_parameter(name).lerp_(p, 0.1)"
    ),
    "an average of lists": (
        "torch._foreach_lerp_(list(two.parameters()), list(one.parameters()), 0.1)"
    ),
    "arithmetic": "for p, q in zip(one.parameters(), two.parameters()):\n    blend(q, p)",
}  # fmt: skip
APART = {
    "an optimizer each": "optimizer_of(one), optimizer_of(two)",
    "a list each": "make_optimizer(one.parameters()), make_optimizer(two.parameters())",
    "a group each": (
        "torch.optim.SGD([{'params': one.parameters()}, {'params': two.parameters()}])"
    ),
    "printed together": "print(list(one.parameters()), list(two.parameters()))",
}


@pytest.mark.parametrize("use", TOGETHER.values(), ids=list(TOGETHER))
def test_parameters_that_are_taken_at_once_are_of_one_generation(use: str) -> None:
    assert not migrate({"train.py": f"{HEAD}{TWO}{use}\n{LEFT}"}).changed
    assert migrate({"train.py": f"{HEAD}{TWO}{use}\n"}).after["train.py"].count("fully_shard(") == 2


@pytest.mark.parametrize("use", APART.values(), ids=list(APART))
def test_parameters_that_are_taken_one_by_one_need_not_be(use: str) -> None:
    after = migrate({"train.py": f"{HEAD}{TWO}{use}\n{LEFT}"}).after["train.py"]
    assert after.count("fully_shard(") == 1
    assert TWO in after


@pytest.mark.parametrize(
    "outer", ["Outer(one)", "nn.Sequential(one, nn.ReLU())", "registry.build('outer', one)"]
)
@pytest.mark.parametrize("left", ["one", "two"])
def test_a_model_inside_of_another_is_of_its_generation(outer: str, left: str) -> None:
    text = f"{HEAD}two = FSDP({outer}, use_orig_params=True)\n"
    assert not migrate({"train.py": f"{text}print({left}._handle)\n"}).changed
    assert migrate({"train.py": text}).after["train.py"].count("fully_shard(") == 2
