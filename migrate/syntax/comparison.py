"""Whether two pieces of code say the same."""

from __future__ import annotations

import ast

_NO_MATTER = frozenset({"ctx", "kind"})  # whether it is read or bound; the `u` of a string


def same(one: ast.AST | None, other: ast.AST | None) -> bool:
    """Whether two pieces of code say the same, wherever they stand and whether read or bound."""
    return _equal(one, other)


def _equal(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, ast.AST) and isinstance(other, ast.AST):
        fields = [name for name in one._fields if name not in _NO_MATTER]
        return all(_equal(getattr(one, name, None), getattr(other, name, None)) for name in fields)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other
