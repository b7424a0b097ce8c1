"""Where an evaluation ends."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.evaluation_ends import Ending, endings
from fsdp_migrate.rule.queries.gathered import walk
from support.facts import Program
from support.programs import dedent

HEAD = """
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(net, use_orig_params=True)
"""


def found(text: str) -> list[Ending]:
    facts = Program(HEAD + dedent(text)).facts
    return list(endings(facts, walk(facts)))


def places(text: str) -> list[str]:
    """The places, by the first line of the statement that they are about."""
    facts = Program(HEAD + dedent(text)).facts
    found = []
    for ending in endings(facts, walk(facts)):
        for place in ending.places:
            first = ast.unparse(place.statement).splitlines()[0]
            found.append(f"{type(place).__name__} {first}")
        if not ending.places:
            found.append("nowhere")
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y = model(x)\nmodel.parameters()", ["After y = model(x)"]),
        ("y = model(x)\nz = model(x)\nmodel.parameters()", ["After z = model(x)"]),
        (
            "y = model(x)\nmodel.zero_grad()\nz = model(x)\nmodel.parameters()",
            ["After y = model(x)", "After z = model(x)"],
        ),
        ("for x in a:\n    model(x)\nmodel.parameters()", ["After for x in a:"]),
        (
            "for e in es:\n    with torch.no_grad():\n        for x in a:\n            model(x)\n"
            "    for x in a:\n        model(x).backward()\nmodel.parameters()",
            ["After with torch.no_grad():"],
        ),
        (
            "for x in a:\n    y = model(x)\n    if c:\n        y.backward()\nmodel.parameters()",
            ["After for x in a:"],
        ),
        (
            "for x in a:\n    y = model(x)\n    model.zero_grad()\n    y.backward()",
            ["Before model.zero_grad()"],
        ),
        (
            "for model in [FSDP(a), FSDP(b)]:\n    for x in c:\n        model(x)\n"
            "    model.parameters()",
            ["After for x in c:"],
        ),
        (
            "if a:\n    pass\nelif model(x):\n    pass\nmodel.parameters()",
            ["After if a:"],
        ),
        ("f = lambda m: m(x)\nf(model)\nmodel.parameters()", ["Before model.parameters()"]),
        ("def f(m):\n    return m(x)\nf(model)\nmodel.parameters()", ["WithinReturn return m(x)"]),
        (
            "def f(m):\n    with torch.no_grad():\n        y = m(x)\n        return y\nf(model)\n"
            "model.parameters()",
            ["Before return y"],
        ),
        (
            "def f(m):\n    yield m(x)\nlist(f(model))\nmodel.parameters()",
            ["Before model.parameters()"],
        ),
        ("ms = [model]\nms[0](x)\nms[0].parameters()", ["After ms[0](x)"]),
        (
            "def f(m):\n    return m(x)\nwith torch.no_grad():\n    f(model)\n"
            "f(model).backward()\nmodel.parameters()\nwith torch.no_grad():\n    f(model)\n"
            "model.parameters()",
            ["After with torch.no_grad():"],
        ),
        (
            "def f():\n    return model(x)\nwith torch.no_grad():\n    f()\nmodel.parameters()",
            ["WithinReturn return model(x)"],
        ),
        (
            "class A:\n    def __init__(self):\n        self.m = FSDP(net)\n"
            "    def __call__(self):\n        return self.m(x)\n"
            "    @torch.no_grad()\n    def test(self):\n        self()\n"
            "    def go(self):\n        self.test()\n        self.m.parameters()",
            ["After self()"],
        ),
        (
            "def get():\n    return model\nget()(x)\nget().parameters()",
            ["nowhere"],
        ),
    ],
)
def test_places(text: str, expected: list[str]) -> None:
    assert places(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "def run(f):\n    f(x)\nrun(model)\nrun(lambda y: y)\nmodel.parameters()",
        "class Step:\n    def __call__(self, y):\n        return y\ndef run(f):\n    f(x)\n"
        "run(model)\nrun(Step())\nmodel.parameters()",
        "def run(f=None):\n    f(x)\nrun(model)\nrun()\nmodel.parameters()",
        "def run(m):\n    return m(x)\nrun(model).backward()\nrun(model)\nmodel.parameters()",
    ],
)
def test_nothing_is_put_behind_what_may_be_no_module_or_trains(text: str) -> None:
    assert places(text) == ["Before model.parameters()"]


def test_one_place_behind_asks_if_there_is_a_model_where_many_read() -> None:
    text = (
        "def run(f=None):\n    f(x)\nrun(model)\nrun()\n"
        "model.parameters()\nmodel.named_parameters()"
    )
    (ending,) = found(text)
    assert [named.may_be_no_module for named in ending.named] == [True]
    assert [named.is_itself for named in ending.named] == [True]


def test_what_cannot_be_placed_is_one_ending_for_all_that_reads() -> None:
    text = "def get():\n    return model\nget()(x)\nget().parameters()\nget().named_parameters()"
    (ending,) = found(text)
    assert not ending.places
    assert len(ending.more) == 1
