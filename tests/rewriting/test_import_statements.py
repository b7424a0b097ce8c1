"""Import statements as text, and what they are about."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_statements import (
    ImportNode,
    bound_name,
    home,
    imported,
    is_about_fsdp,
    is_stdlib,
    order,
    statements,
)


def node(text: str) -> ImportNode:
    found = ast.parse(text).body[0]
    assert isinstance(found, ast.Import | ast.ImportFrom)
    return found


@pytest.mark.parametrize(
    ("text", "module", "first", "bound"),
    [
        ("import a", "a", Import("a"), "a"),
        ("import a.b, c", "a.b", Import("a.b"), "a"),
        ("import a.b as c", "a.b", Import("a.b", None, "c"), "c"),
        ("from a import b", "a", Import("a", "b"), "b"),
        ("from a.b import c as d, e", "a.b", Import("a.b", "c", "d"), "d"),
        ("from . import a", ".", Import(".", "a"), "a"),
        ("from ..a import b", "..a", Import("..a", "b"), "b"),
    ],
)
def test_what_a_statement_imports(text: str, module: str, first: Import, bound: str) -> None:
    statement = node(text)
    assert home(statement) == module
    assert imported(statement, statement.names[0]) == first
    assert bound_name(statement.names[0]) == bound
    assert first.local == bound


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from torch.distributed.fsdp import StateDictType", True),
        ("from torch.distributed.fsdp.wrap import wrap", True),
        ("import torch.distributed.fsdp", True),
        ("from torch.distributed import fsdp", True),
        ("from mine import FSDP", True),
        ("from mine import FullyShardedDataParallel", True),
        ("import torch.distributed", False),
        ("from torch import nn", False),
    ],
)
def test_imports_from_where_fsdp_is(text: str, expected: bool) -> None:
    assert is_about_fsdp(node(text)) is expected


def test_modules_of_the_standard_library() -> None:
    names = ["os.path", "builtins", "torch", ".os"]
    assert list(map(is_stdlib, names)) == [True, True, False, False]


def test_constants_come_before_classes_and_these_before_the_rest() -> None:
    names = ["b", "B", "A", "BC", "a", "Bc"]
    assert [n.name for n in sorted((Import("m", n) for n in names), key=order)] == [
        "A", "B", "BC", "Bc", "a", "b",
    ]  # fmt: skip


def test_one_statement_a_module() -> None:
    needs = [
        Import("z"), Import("b", "y"), Import("a", "x", "w"), Import("b", "C"),
        Import("y.z", None, "q"), Import("b", "y"),
    ]  # fmt: skip
    assert statements(needs, 0, 88) == [
        "import z",
        "import y.z as q",
        "from a import x as w",
        "from b import C, y",
    ]


def test_long_lines() -> None:
    needs = [Import("module", "first"), Import("module", "second")]
    line = "from module import first, second"
    assert statements(needs, 0, len(line)) == [line]
    assert statements(needs, 4, len(line) + 4) == [line]
    broken = ["from module import (\n\tfirst,\n\tsecond,\n)"]
    assert statements(needs, 0, len(line) - 1, "\t") == broken
    assert statements(needs, 4, len(line) + 3, "\t") == broken
