"""The names that a module reads, and those that it lists for others."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.syntax.module import all_annotations, scope_nodes
from fsdp_migrate.syntax.nodes import nodes_in


def used_names(tree: ast.Module) -> set[str]:
    """The names that a module reads or deletes, in string annotations and `__all__` too."""
    names = {
        node.id
        for node in nodes_in(tree)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)
    }
    quoted = {name for annotation in all_annotations(tree) for name in _quoted_names(annotation)}
    return names | quoted | exported_names(tree)


def _quoted_names(annotation: ast.expr) -> Iterator[str]:
    """The names in strings of an annotation, which are code themselves."""
    for inner in nodes_in(annotation):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            try:
                parsed = ast.parse(inner.value, mode="eval")
            except SyntaxError:
                continue
            yield from (node.id for node in nodes_in(parsed) if isinstance(node, ast.Name))


def exported_names(tree: ast.Module) -> set[str]:
    """The strings of `__all__`."""
    return {str(string.value) for value in _exports(tree) for string in _strings(value)}


def export_displays(tree: ast.Module) -> list[ast.List | ast.Tuple]:
    """The displays that list names of `__all__`, joined by `+` or not."""
    return [display for value in _exports(tree) for display in _displays(value)]


def exported_apart(tree: ast.Module) -> set[str]:
    """The strings of `__all__` that stand in no display, as in `__all__.append("name")`."""
    listed = {id(item) for display in export_displays(tree) for item in display.elts}
    strings = (string for value in _exports(tree) for string in _strings(value))
    return {str(string.value) for string in strings if id(string) not in listed}


def _exports(tree: ast.Module) -> Iterator[ast.expr]:
    """What is put into `__all__`."""
    for node in scope_nodes(tree):
        if isinstance(node, ast.Assign) and any(map(_is_all, node.targets)):
            yield node.value
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and _is_all(node.target):
            yield from [node.value] if node.value is not None else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if _is_all(node.func.value) and node.func.attr in ("append", "extend"):
                yield from node.args


def _is_all(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "__all__"


def _displays(value: ast.expr) -> Iterator[ast.List | ast.Tuple]:
    if isinstance(value, ast.List | ast.Tuple):
        yield value
    elif isinstance(value, ast.BinOp):
        yield from _displays(value.left)
        yield from _displays(value.right)


def _strings(value: ast.expr) -> Iterator[ast.Constant]:
    for inner in nodes_in(value):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner
