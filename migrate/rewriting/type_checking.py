"""Blocks under `if TYPE_CHECKING:`, which run for type checkers only."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cached_property

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_statements import ImportNode, bound_name, home, imported
from fsdp_migrate.syntax.module import Module

_HOMES = ("typing", "typing_extensions")
Changes = Mapping[ImportNode, list[Import]]


class TypeCheckingBlocks:
    """The blocks for type checkers of a module, whose import statements are `nodes`."""

    def __init__(self, module: Module, nodes: Iterable[ImportNode]) -> None:
        self.module = module
        self.nodes = list(nodes)

    def holds(self, node: ast.AST) -> bool:
        """Whether `node` stands in such a block."""
        return any(isinstance(n, ast.If) and self._is_one(n) for n in self.module.ancestors(node))

    @cached_property
    def _blocks(self) -> list[ast.If]:
        nodes = ast.walk(self.module.tree)
        return [node for node in nodes if isinstance(node, ast.If) and self._is_one(node)]

    def _is_one(self, node: ast.If) -> bool:
        """Whether the test is `TYPE_CHECKING` of the library `typing`."""
        if isinstance(node.test, ast.Attribute):
            return node.test.attr == "TYPE_CHECKING"
        name = node.test.id if isinstance(node.test, ast.Name) else ""
        starred = name == "TYPE_CHECKING" and name not in self.module.bound_names
        return starred or name in self._tests

    @cached_property
    def _tests(self) -> set[str]:
        """What `typing.TYPE_CHECKING` is called here."""
        return {
            bound_name(alias)
            for node in self.nodes
            if home(node) in _HOMES
            for alias in node.names
            if alias.name == "TYPE_CHECKING"
        }

    def emptied(self, changes: Changes) -> list[ast.If]:
        """The blocks that nothing is left of: their test goes with them."""
        return [
            block
            for block in self._blocks
            if not block.orelse
            and all(
                isinstance(s, ast.Import | ast.ImportFrom) and changes.get(s) == []
                for s in block.body
            )
        ]

    def imports_of_test(self, emptied: list[ast.If], changes: Changes) -> Changes:
        """The statements that import `TYPE_CHECKING` without it, if no block is left."""
        if not emptied or len(emptied) < len(self._blocks):
            return {}
        found: dict[ImportNode, list[Import]] = {}
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom) and home(node) in _HOMES:
                names = changes.get(node, [imported(node, alias) for alias in node.names])
                left = [name for name in names if name.local not in self._tests]
                if len(left) < len(names):
                    found[node] = left
        return found
