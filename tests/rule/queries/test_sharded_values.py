"""Gradients and parameters, and what is computed from them and told to other ranks."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.collectives import collective, is_sum
from fsdp_migrate.rule.queries.counts import only_counts
from fsdp_migrate.rule.queries.sharded_values import computed_from, reads_any, reduced
from support.facts import Program

HEAD = """\
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    pass


model = FSDP(Net())
"""


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("p.grad.norm()", "p.grad"),
        ("torch.linalg.norm(p.grad.detach(), 2)", "p.grad"),
        ("(p.grad.float() ** 2).sum()", "p.grad"),
        ("p.sum()", "p"),
        ("batch.sum()", None),
        ("len(p)", None),
    ],
)
def test_what_a_call_computes_with(text: str, base: str | None) -> None:
    asked = Program(f"{HEAD}for p in model.parameters():\n    use({text})\n")
    found = reduced(asked.facts, asked.call(ast.unparse(ast.parse(text))))
    assert (ast.unparse(found) if found is not None else None) == base


def _seeds(asked: Program) -> set[ast.Call]:
    return {asked.call("seed()")}


def test_variables_that_hold_what_is_computed() -> None:
    asked = Program("a = seed() + 1\nb = a * 2\nc = b.item()\nlist_.append(b)\nd = other()\n")
    assert computed_from(asked.module().tree, _seeds(asked)) == {"a", "b", "c", "list_"}


def test_what_reads_them() -> None:
    asked = Program("a = seed()\nuse(a)\nuse(other)\n")
    assert reads_any(asked.call("use(a)"), _seeds(asked), {"a"})
    assert not reads_any(asked.call("use(other)"), _seeds(asked), {"a"})


def test_collectives_are_known_by_what_they_are() -> None:
    asked = Program(
        "from torch.distributed import ReduceOp, all_reduce as together\n"
        "def all_reduce(x): pass\n"
        "together(x, ReduceOp.SUM, ReduceOp.PREMUL_SUM, CHECKSUM)\nall_reduce(x)\n"
    )
    call = asked.call("together(x, ReduceOp.SUM, ReduceOp.PREMUL_SUM, CHECKSUM)")
    assert collective(asked.facts, call) == "all_reduce"
    assert collective(asked.facts, asked.call("all_reduce(x)")) is None
    assert [is_sum(asked.facts, node) for node in call.args] == [False, True, False, False]


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("p.numel()", True),
        ("torch.tensor(sum(p.numel() for p in ps))", True),
        ("torch.tensor([float(p.numel())])", True),
        ("p.numel() * 2", False),
        ("weigh(p.numel())", False),
    ],
)
def test_what_is_nothing_but_counts(text: str, only: bool) -> None:
    asked = Program(f"import torch\ntotal = {text}\nuse(total)\n")
    counts: set[ast.AST] = {asked.call("p.numel()").func}
    (total,) = asked.call("use(total)").args
    assert only_counts(asked.facts, asked.module(), total, counts) is only
