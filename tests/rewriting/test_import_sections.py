"""Where a new import statement goes."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_sections import Sections
from support.edits import module_of

SHARD, COPY, TORCH = Import("torch.distributed.fsdp", "f"), Import("copy"), Import("torch")


def place(text: str, need: Import) -> str:
    """The side and the first line of the statement that `need` goes beside, and the gaps."""
    module = module_of(text)
    found = Sections(module).place(need)
    gaps = f" {found.blank_above}/{found.blank_below}"
    side = "below" if found.after else "above"
    line = module.lines[found.node.lineno - 1]
    return f"{side} {line}" + (gaps if found.blank_above or found.blank_below else "")


APART = """\
import os
import sys
from dataclasses import dataclass

import numpy
import torch
from torch import nn
from transformers import AutoModel

from mine import x
"""
MIXED = """\
import os

import numpy
from torch import nn
import torch.distributed as dist
from transformers import AutoModel
"""
UNSORTED = """\
import torch
from mine import x
from torch import nn
import os
x
"""


@pytest.mark.parametrize(
    ("text", "need", "expected"),
    [
        # into the sorted group of its kind
        (APART, SHARD, "below from torch import nn"),
        (APART, Import("torch.cuda"), "below import torch"),
        (APART, COPY, "above import os"),
        (APART, Import("functools"), "above import os"),
        (APART, Import("re"), "below import os"),
        (APART, Import("copy", "copy"), "below import sys"),
        (APART, Import("enum", "Enum"), "below from dataclasses import dataclass"),
        (MIXED, SHARD, "below import torch.distributed as dist"),
        (MIXED, Import("torch.cuda"), "below from torch import nn"),
        # unsorted: behind the last of its kind
        (UNSORTED, SHARD, "below from torch import nn"),
        (UNSORTED, COPY, "below import os"),
        ("import torch\nx\n", COPY, "above import torch 0/1"),
        # no other import of its kind
        ("from torch import nn\nx\n", TORCH, "above from torch import nn"),
        ("import os\nx\n", SHARD, "above import os 0/1"),
        ("from . import a\nx\n", SHARD, "above from . import a 0/1"),
        ("from __future__ import a\nx\n", SHARD, "below from __future__ import a 1/0"),
        # no import at all
        ('"""Doc."""\nx = 1\n', SHARD, "above x = 1 0/1"),
        ('"""Doc."""\ndef f(): ...\n', SHARD, "above def f(): ... 0/2"),
        ("class A: ...\n", SHARD, "above class A: ... 0/2"),
        ('"""Doc."""\n', SHARD, 'below """Doc.""" 1/0'),
    ],
)  # fmt: skip
def test_beside_which_statement(text: str, need: Import, expected: str) -> None:
    assert place(text, need) == expected


def test_one_place_for_those_that_go_together() -> None:
    sections = Sections(module_of(APART))
    one = sections.place(SHARD)
    assert sections.place(Import("torch.distributed.fsdp", "g")) is one
    assert sections.place(COPY) is not one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from torch import nn\n", 1),
        ("import os\nfrom torch import nn\nfrom b import c\n", 2),
        ("import torch\nfrom torch import nn\n", None),
        ("from __future__ import annotations\nfrom . import a\n", None),
    ],
)
def test_the_first_from_import_where_no_other_is(text: str, expected: int | None) -> None:
    found = Sections(module_of(text)).first_from_import()
    assert (found.lineno if found else None) == expected
