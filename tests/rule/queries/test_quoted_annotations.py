"""Where annotations in quotes name FSDP1's class."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.quoted_annotations import quoted_annotations
from support.facts import Program

HEAD = """\
import typing

import torch
import torch.distributed.fsdp as fsdp
from torch.distributed import fsdp as home
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import MixedPrecision
from typing import Literal as L
"""


def around(annotation: str, head: str = HEAD) -> list[list[str]]:
    """What stands around the names in the strings of one annotation."""
    asked = Program(f"{head}\n\ndef f(x: {annotation}):\n    pass\n")
    return [texts for _, texts in quoted_annotations(asked.facts, asked.module())]


@pytest.mark.parametrize(
    ("annotation", "texts"),
    [
        ('"FSDP"', [["", ""]]),
        ('" FSDP "', [[" ", " "]]),
        ('typing.Optional["FSDP"]', [["", ""]]),
        ('"FSDP | None"', [["", " | None"]]),
        ('"dict[FSDP, FSDP]"', [["dict[", ", ", "]"]]),
        ("\"typing.Optional['FSDP']\"", [["typing.Optional['", "']"]]),
        ('"fsdp.FullyShardedDataParallel"', [["", ""]]),
        ('"home.FullyShardedDataParallel"', [["", ""]]),
        ('"torch.distributed.fsdp.FullyShardedDataParallel"', [["", ""]]),
        ('"\u00e9tat | FSDP"', [["\u00e9tat | ", ""]]),
        ('"""list[\n    FSDP\n]"""', [["list[\n    ", "\n]"]]),
    ],
)
def test_names_are_found_by_what_they_are(annotation: str, texts: list[list[str]]) -> None:
    assert around(annotation) == texts


@pytest.mark.parametrize(
    "annotation",
    [
        'L["FSDP"]',
        'typing.Literal["FSDP", "DDP"]',
        "\"L['FSDP']\"",
        '"MyFSDP"',
        '"x.FSDP"',
        '"MixedPrecision"',
        '"FSDP the class"',
        'typing.Annotated[int, "FSDP :"]',
        '"FullyShardedDataParallel"',
    ],
)
def test_other_words_are_left_alone(annotation: str) -> None:
    assert around(annotation) == []


def test_a_name_of_something_else_is_not_the_class() -> None:
    assert around('"FSDP"', "from engine import FSDP\n") == []


def test_strings_that_are_no_annotations_are_not_looked_at() -> None:
    asked = Program(f'{HEAD}\nkind: str = "FSDP"\nnames: "list[str]" = ["FSDP"]\n')
    assert list(quoted_annotations(asked.facts, asked.module())) == []
