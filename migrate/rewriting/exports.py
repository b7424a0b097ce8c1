"""`__all__` without the names that a file no longer has."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from fsdp_migrate.findings.code import Code, Kept, code
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.used_names import export_displays


def unlisted(module: Module, names: Collection[str]) -> Iterator[Edit]:
    """Take `names` out of the lists and tuples that make up `__all__`."""
    for display in export_displays(module.tree):
        left = [item for item in display.elts if not _is_one_of(item, names)]
        if len(left) < len(display.elts):
            kept = [Kept(module.span(item)) for item in left]
            made = _tuple(kept) if isinstance(display, ast.Tuple) else _list(kept)
            yield ReplaceExpression(module.span(display), made)


def _is_one_of(item: ast.expr, names: Collection[str]) -> bool:
    return isinstance(item, ast.Constant) and item.value in names


def _list(items: list[Kept]) -> Code:
    return code("[{items}]", items=tuple(items))


def _tuple(items: list[Kept]) -> Code:
    if not items:
        return code("()")
    if len(items) == 1:
        return code("({item},)", item=items[0])
    return code("({items}, {last})", items=tuple(items[:-1]), last=items[-1])
