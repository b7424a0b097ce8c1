"""Tensors that are computed from parameters and gradients."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Params, Tensor
from support.facts import plain
from support.programs import Analysis

HEAD = """\
import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    pass


model = FSDP(Net())
"""
LOOP = "for name, p in model.named_parameters():\n    use({text})\n"


def _value(text: str) -> frozenset[object]:
    program = Analysis(HEAD + LOOP.format(text=text))
    (call,) = program.nodes(plain(f"use({text})"))
    return program.solver.value(call.args[0])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "origin", "scalar"),
    [
        ("p.grad.norm()", "p.grad", True),
        ("p.grad.pow(2)", "p.grad", False),
        ("p.grad * 2", "p.grad", False),
        ("-p", "p", False),
        ("(p.abs() > 1).sum()", "p", True),
        ("torch.linalg.vector_norm(p.grad.detach(), 2)", "p.grad", True),
        ("torch.stack([p.grad.norm()])", "p.grad", False),
        ("sum(q.sum() for q in [p])", "q", True),
        ("p.sum(dim=0)", "p", False),
        ("p.grad[0]", "p.grad", False),
    ],
)
def test_where_a_computation_begins(text: str, origin: str, scalar: bool) -> None:
    tensors = [atom for atom in _value(text) if isinstance(atom, Tensor)]
    assert {(t.origin.end_col - t.origin.col, t.scalar) for t in tensors} == {(len(origin), scalar)}


@pytest.mark.parametrize(
    "text", ["p.numel()", "p.grad.norm().item()", "p.grad.numpy()", "name.upper()", "name + 'a'",
             "p.grad is None", "p.to_local()", "p.shape[0] * 2"]
)  # fmt: skip
def test_what_is_no_tensor_any_more(text: str) -> None:
    assert not any(isinstance(atom, Tensor) for atom in _value(text))


@pytest.mark.parametrize(("text", "kind"), [("name", "name"), ("p", "one"), ("p.detach()", "one")])
def test_names_and_parameters(text: str, kind: str) -> None:
    assert {a.kind for a in _value(text) if isinstance(a, Params)} == {kind}


def test_lists_are_joined() -> None:
    text = "list(model.parameters()) + list(model.parameters())"
    assert {a.kind for a in _value(text) if isinstance(a, Params)} == {""}
