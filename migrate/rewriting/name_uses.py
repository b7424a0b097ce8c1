"""Where a file, as it will be, uses a name: in which functions, in annotations only or not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property

from fsdp_migrate.syntax.module import all_annotations
from fsdp_migrate.syntax.nodes import children, nodes_in

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
Place = tuple[int, int]  # of a function: line and column in the file as it was


class NameUses:
    """Answers for the tree that a file will be."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree

    def functions_around(self, name: str) -> list[frozenset[Place]]:
        """For each use of `name` the functions that it stands in."""
        return [frozenset(self._functions_around(use)) for use in self._uses.get(name, ())]

    def only_annotates(self, name: str) -> bool:
        """Whether `name` is used in annotations alone, none of which is ever evaluated."""
        lazy = any(
            isinstance(node, ast.ImportFrom) and node.module == "__future__"
            for node in self.tree.body
        )
        return all(lazy and use in self._annotating for use in self._uses.get(name, ()))

    @cached_property
    def _uses(self) -> dict[str, list[ast.Name]]:
        found: dict[str, list[ast.Name]] = {}
        for node in nodes_in(self.tree):
            if isinstance(node, ast.Name):
                found.setdefault(node.id, []).append(node)
        return found

    @cached_property
    def _annotating(self) -> set[ast.AST]:
        return {node for stated in all_annotations(self.tree) for node in nodes_in(stated)}

    def _functions_around(self, node: ast.AST) -> Iterator[Place]:
        while (parent := self._parents.get(node)) is not None:
            if isinstance(parent, FUNCTIONS):
                yield parent.lineno, parent.col_offset
            node = parent

    @cached_property
    def _parents(self) -> dict[ast.AST, ast.AST]:
        return {child: n for n in nodes_in(self.tree) for child in children(n)}
