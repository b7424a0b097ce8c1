"""How wide new code is in a file."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.code import (
    Element,
    Item,
    Kept,
    Keyword,
    Literal,
    Name,
    Starred,
    call,
    code,
    dictionary,
    qualified,
    variable,
)
from fsdp_migrate.findings.spelling import width
from support.programs import Analysis

PROGRAM = """\
import torch.distributed as dist
from torch.nn import Linear as Dense

value = pick(
    1,
)
"""
MODULE = Analysis(PROGRAM).module()
(KEPT,) = (Kept(MODULE.span(n.value)) for n in MODULE.tree.body if isinstance(n, ast.Assign))


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Literal(None), "None"),
        (Literal("cuda"), '"cuda"'),
        (variable("mesh", "grid"), "mesh"),
        (Name("torch.nn", "Linear"), "Dense"),
        (Name("torch.nn", "Tanh"), "Tanh"),
        (qualified("torch.distributed.get_rank"), "dist.get_rank"),
        (KEPT, "pick(\n    1,\n)"),
        (Keyword("mesh", variable("mesh")), "mesh=mesh"),
        (Starred(variable("kwargs"), double=True), "**kwargs"),
        (call(variable("f"), Literal(1), Keyword("x", Literal(2))), "f(1, x=2)"),
        (code("{{}} if {a} else {b}", a=Literal(1), b=Literal(2)), "{} if 1 else 2"),
    ],
)
def test_width(part: Element, text: str) -> None:
    assert width(MODULE, part) == len(text)


def test_items_of_a_display() -> None:
    made = dictionary(Item(Literal("mesh"), Literal(1)), Item(Literal("b"), Literal(2)))
    assert width(MODULE, made) == len('{**"mesh": 1, "b": 2}')  # the stars of the template
