"""Which bodies of `summon_full_params` can do without it, and why others can't."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.summon_forms import find_summon, native_summons
from fsdp_migrate.rule.queries.summoned_runs import Unclear
from support.facts import Program

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        return self.head(x)


model = FSDP(Net().cuda(), use_orig_params=True)
"""


def _found(body: str, arguments: str = "") -> Program:
    return Program(f"{HEAD}with FSDP.summon_full_params(model{arguments}):\n    {body}\n")


@pytest.mark.parametrize(
    "body",
    [
        "print(model.head.weight.norm())",
        "print([name for name, p in model.named_parameters()])",
        "largest = max(p.abs().max() for p in model.parameters())",
        "model.head.bias.mul_(-0.5)",
        "print(model.head.weight.shape)",
        "kept = {n: p.clone() for n, p in model.named_parameters()}; kept['a'] = 1",
        "state = {}; state['head'] = model.head.weight; state['step'] = 3",
        "w = model.head.weight.norm(); w.mul_(2)",
        "total = 0\n    for p in model.parameters(): total += p.sum()",
        "print(len(list(model.parameters())))",
    ],
)
def test_understood(body: str) -> None:
    program = _found(body)
    assert len(native_summons(program.facts)) == 1
    assert find_summon(program.use("summon_full_params"), program.facts).wraps


@pytest.mark.parametrize(
    ("body", "arguments", "why"),
    [
        ("model.head.weight.normal_()", "", "as a whole"),
        ("model.head.weight[0] = 1.0", "", "written"),
        ("nn.init.zeros_(model.head.weight)", "", "written"),
        ("model.head.weight.data = model.head.weight.data * 2", "", "`.data`"),
        ("w = model.head.weight; w.mul_(2)", "", "is changed"),
        ("w = model.head.weight.detach(); w += 1", "", "is changed"),
        ("(w := model.head.weight).zero_()", "", "is changed"),
        ("[p.normal_() for p in list(model.parameters())]", "", "is changed"),
        ("d = dict(model.named_parameters()); d['x'].zero_()", "", "is changed"),
        ("first, *rest = model.parameters(); rest[0][0] = 1", "", "is changed"),
        ("for i, p in enumerate(model.parameters()): p.view(-1).fill_(i)", "", "is changed"),
        ("for p, q in zip(model.parameters(), other): p.copy_(q)", "", "is changed"),
        ("held = []; held.append(model.head.weight); nn.init.ones_(held[0])", "", "is changed"),
        ("for p in model.parameters(): torch.add(p, 1, out=p.data)", "", "`.data`"),
        ("model.head.weight.mul_(2).add_(torch.ones(4, 4))", "", "is changed"),
        ("model(torch.rand(2, 4))", "", "gradients"),
        ("print(model)", "", "handed on"),
        ("print(model.head.weight)", ", with_grads=True", "gradients"),
        ("print(model.head.weight)", ", recurse=False", "one unit alone"),
        ("model.head.bias.mul_(2)", ", writeback=False", "dropped"),
        ("print(model.head.weight.sum() if torch.cuda.is_available() else 0)", "", "some ranks"),
    ],
)
def test_not_understood(body: str, arguments: str, why: str) -> None:
    program = _found(body, arguments)
    with pytest.raises(Unclear, match=why):
        find_summon(program.use("summon_full_params"), program.facts)
