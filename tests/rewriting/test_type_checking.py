"""Blocks under `if TYPE_CHECKING:`."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_statements import ImportNode
from fsdp_migrate.rewriting.type_checking import TypeCheckingBlocks
from support.edits import module_of


def blocks(text: str) -> tuple[TypeCheckingBlocks, list[ImportNode]]:
    module = module_of(text)
    nodes = [n for n in ast.walk(module.tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    return TypeCheckingBlocks(module, nodes), nodes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n", True),
        ("from typing import TYPE_CHECKING as T\nif T:\n    import a\n", True),
        ("from typing_extensions import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n", True),
        ("import typing\nif typing.TYPE_CHECKING:\n    import a\n", True),
        ("from typing import *\nif TYPE_CHECKING:\n    import a\n", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  if b:\n    import a\n", True),
        ("TYPE_CHECKING = 1\nif TYPE_CHECKING:\n    import a\n", False),
        ("from mine import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n", False),
        ("from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import a\n", False),
        ("from typing import TYPE_CHECKING\nimport a\n", False),
    ],
)
def test_what_stands_in_one(text: str, expected: bool) -> None:
    found, nodes = blocks(text)
    (node,) = [n for n in nodes if n.names[0].name == "a"]
    assert found.holds(node) is expected


TWO = """\
from typing import TYPE_CHECKING, Any
if TYPE_CHECKING:
    import a
    from b import c
if TYPE_CHECKING:
    import d
"""


def test_a_block_that_nothing_is_left_of_goes() -> None:
    found, (test, a, c, d) = blocks(TWO)
    assert [block.lineno for block in found.emptied({a: [], c: []})] == [2]
    assert [block.lineno for block in found.emptied({a: [], d: []})] == [5]
    assert found.emptied({}) == []
    assert found.imports_of_test(found.emptied({d: []}), {}) == {}
    everything: dict[ImportNode, list[Import]] = {a: [], c: [], d: []}
    both = found.emptied(everything)
    assert len(both) == 2
    assert found.imports_of_test(both, everything) == {test: [Import("typing", "Any")]}


def test_a_block_with_something_else_in_it_stays() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n"
    for more in ("    T = int\n", "else:\n    a = None\n"):
        found, nodes = blocks(text + more)
        assert found.emptied({node: [] for node in nodes}) == []
