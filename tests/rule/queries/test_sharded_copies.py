"""Which values are cut as the parameters are."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.sharded_copies import has_own_memory, is_sharded_copy
from support.facts import Program

HEAD = """\
import lib
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def main(net):
    before = [p.detach().clone() for p in net.parameters()]
    model = FSDP(net, use_orig_params=True)
    inner = torch.optim.AdamW(model.parameters(), lr=0.1)
    kept = [p.data.clone() for p in model.parameters()]
    named = {n: p.data.clone() for n, p in model.named_parameters()}
    flat = torch.cat([p.data.view(-1) for p in model.parameters()])
"""
LOOP = """\
    for n, p in model.named_parameters():
        for old, first, delta in zip(kept, before, lib.deltas()):
            p.data = {value}
"""


def is_copy(value: str, before: str = "") -> bool:
    program = Program(HEAD + before + LOOP.format(value=value))
    (module,) = program.facts.analysis.project.modules.values()
    return is_sharded_copy(program.facts, module, program.node(value))


@pytest.mark.parametrize(
    "value",
    [
        "old",
        "old.clone()",
        "old.to(p.device)",
        "old.to('cuda')",
        "named[n]",
        "named.get(n)",
        "named.pop(n).detach()",
        "old + 0.5 * named[n]",
        "torch.lerp(old, p, 0.5)",
        "torch.zeros_like(old)",
        "inner.state[p]['exp_avg']",
    ],
)
def test_copied_from_the_model(value: str) -> None:
    assert is_copy(value)


@pytest.mark.parametrize(
    "value",
    [
        "first.clone()",  # whole
        "old + delta",
        "delta * old.norm()",
        "old.half()",
        "old.to(torch.bfloat16)",
        "old.tolist()",
        "old.to_local()",
        "torch.where(delta, old, 0.0)",
        "torch.zeros(p.shape)",
        "torch.mm(delta, old)",
        "flat[:4].view_as(p)",
        "lib.load(n)",
    ],
)
def test_cut_otherwise_or_unknown(value: str) -> None:
    assert not is_copy(value)


@pytest.mark.parametrize(
    "change",
    [
        "kept = torch.load('kept.pt')",
        "kept.extend(lib.load())",
        "kept[0] = torch.zeros(3)",
        "lib.fill(kept)",
        "lib.Filler().fill(kept)",
    ],
)
def test_filled_with_something_else(change: str) -> None:
    assert not is_copy("old.clone()", f"    {change}\n")


def test_own_memory() -> None:
    program = Program("a.clone()\na + b\na\na.to(b)\n")
    assert [has_own_memory(program.node(t)) for t in ("a.clone()", "a + b", "a", "a.to(b)")] == [
        True,
        True,
        False,
        False,
    ]
