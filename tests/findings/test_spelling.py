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
from fsdp_migrate.findings.spelling import local_names, torch_paths, width
from support.edits import module_of
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


# ---------------------------------------------------------------------- paths and names
@pytest.mark.parametrize(
    ("imports", "paths"),
    [
        ("import torch", ["torch.distributed"]),
        ("import torch.nn", ["torch.distributed"]),
        ("import torch as t", ["t.distributed"]),
        ("import torch\nimport torch.distributed as dist", ["dist", "torch.distributed"]),
        ("from torch import distributed", ["distributed"]),
        ("from torch import distributed as d, nn", ["d"]),
        ("import torch.distributed.fsdp as fsdp", []),
        ("from torch.distributed import get_rank", []),
        ("def f():\n    import torch", []),
        ("import torchvision\nfrom . import torch", []),
    ],
)
def test_ways_to_a_module(imports: str, paths: list[str]) -> None:
    assert torch_paths(module_of(imports + "\n"), "torch.distributed") == paths


@pytest.mark.parametrize(
    ("imports", "names"),
    [
        ("from lib import name", ["name"]),
        ("from lib import other, name as n, name", ["n", "name"]),
        ("try:\n    from lib import name\nexcept ImportError:\n    pass", ["name"]),
        ("def f():\n    from lib import name", []),
        ("from .lib import name\nfrom lib.inner import name\nimport lib", []),
    ],
)
def test_what_a_name_is_called(imports: str, names: list[str]) -> None:
    assert local_names(module_of(imports + "\n"), "lib", "name") == names
