"""Dotted paths of names such as `self.model`: which of them a piece of code reads and binds."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.syntax.nodes import children, nodes_in

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def path_of(node: ast.AST) -> str | None:
    """`a.b.c` as text, or None if the expression is anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        return ".".join([node.id, *reversed(parts)])
    return None


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one leads to the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def touches(paths: Iterable[str], others: Iterable[str]) -> bool:
    """Whether a path of one set has to do with one of the other."""
    others = list(others)
    return any(overlap(path, other) for path in paths for other in others)


def reads(node: ast.AST) -> frozenset[str]:
    """The paths that running `node` loads, nested functions included."""
    found: set[str] = set()

    def visit(item: ast.AST, hidden: frozenset[str]) -> None:
        path = path_of(item) if isinstance(item, ast.Attribute | ast.Name) else None
        if path is None:
            hidden |= _own_variables(item)
            for child in children(item):
                visit(child, hidden)
        elif path.partition(".")[0] not in hidden:
            if isinstance(item.ctx, ast.Load):  # type: ignore[attr-defined]
                found.add(path)

    visit(node, frozenset())
    return frozenset(found)


def binds(node: ast.AST) -> frozenset[str]:
    """The paths that running `node` binds, deletes or declares."""
    found: set[str] = set()

    def visit(item: ast.AST, hidden: frozenset[str]) -> None:
        if isinstance(item, ast.Name | ast.Attribute | ast.Subscript):
            target = item.value if isinstance(item, ast.Subscript) else item
            path = path_of(target)
            if not isinstance(item.ctx, ast.Load) and path and path not in hidden:
                found.add(path)
        elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(item.name)
        elif isinstance(item, ast.alias):
            found.add(item.asname or item.name.partition(".")[0])
        elif isinstance(item, ast.ExceptHandler) and item.name:
            found.add(item.name)
        if item is node or not isinstance(item, FUNCTIONS):
            hidden |= _own_variables(item)
            for child in children(item):
                visit(child, hidden)

    visit(node, frozenset())
    return frozenset(found)


def binds_names(node: ast.expr) -> bool:
    """Whether evaluating `node` binds a variable on the way, by `:=`.

    Python has no such expression in what a comprehension goes through.
    """
    return any(isinstance(inner, ast.NamedExpr) for inner in nodes_in(node))


def _own_variables(node: ast.AST) -> frozenset[str]:
    """The variables that exist inside an expression only: of comprehensions and lambdas."""
    targets: list[ast.AST] = []
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        targets = [generator.target for generator in node.generators]
    elif isinstance(node, ast.Lambda):
        targets = [node.args]
    return frozenset(
        n.id if isinstance(n, ast.Name) else n.arg
        for target in targets
        for n in nodes_in(target)
        if isinstance(n, ast.Name | ast.arg)
    )
