"""Blocks under `if TYPE_CHECKING:`, which run for type checkers only."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_statements import ImportNode, bound_name, home, imported
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import fresh_copy, nodes_in
from fsdp_migrate.syntax.used_names import used_names

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
        nodes = nodes_in(self.module.tree)
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
        """The statements that import what nothing but the tests of `emptied` uses, without it."""
        if not emptied:
            return {}
        unused = _names_in(block.test for block in emptied) - self._used_beside(emptied)
        found: dict[ImportNode, list[Import]] = {}
        for node in self.nodes:
            names = changes.get(node, [imported(node, alias) for alias in node.names])
            left = [name for name in names if not (_is_typing(name) and name.local in unused)]
            if len(left) < len(names):
                found[node] = left
        return found

    def _used_beside(self, blocks: list[ast.If]) -> set[str]:
        """The names that the module uses outside of `blocks`."""
        places = {(block.lineno, block.col_offset) for block in blocks}
        return used_names(_Without(places).visit(fresh_copy(self.module.tree)))


class _Without(ast.NodeTransformer):
    """Takes the `if` statements out that begin at some places."""

    def __init__(self, places: Collection[tuple[int, int]]) -> None:
        self.places = places

    def visit_If(self, node: ast.If) -> ast.If | None:
        if (node.lineno, node.col_offset) in self.places:
            return None
        self.generic_visit(node)
        return node


def _names_in(nodes: Iterable[ast.AST]) -> set[str]:
    return {n.id for node in nodes for n in nodes_in(node) if isinstance(n, ast.Name)}


def _is_typing(name: Import) -> bool:
    """Whether an import is of `typing`, or of what makes a test for type checkers."""
    return name.module in _HOMES and name.name in (None, "TYPE_CHECKING")
