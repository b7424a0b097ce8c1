"""The names that a module reads, and those that it lists for others."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.syntax.module import all_annotations


def used_names(tree: ast.Module) -> set[str]:
    """The names that a module reads or deletes, in string annotations and `__all__` too."""
    names = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)
    }
    quoted = {name for annotation in all_annotations(tree) for name in _quoted_names(annotation)}
    return names | quoted | exported_names(tree)


def _quoted_names(annotation: ast.expr) -> Iterator[str]:
    """The names in strings of an annotation, which are code themselves."""
    for inner in ast.walk(annotation):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            try:
                parsed = ast.parse(inner.value, mode="eval")
            except SyntaxError:
                continue
            yield from (node.id for node in ast.walk(parsed) if isinstance(node, ast.Name))


def exported_names(tree: ast.Module) -> set[str]:
    """The strings of `__all__`."""
    return {
        inner.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        for inner in ast.walk(node.value)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    }
