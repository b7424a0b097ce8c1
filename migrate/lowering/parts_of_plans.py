"""Parts of plans taken apart: their words, and the same with names for some expressions."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from fsdp_migrate.findings.code import Code, Kept, Variable, refilled
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Span

_T = TypeVar("_T")


def words_of(module: Module, value: object) -> object:
    """A part of a plan, with the words of the file in the place of their places."""
    if isinstance(value, Kept):
        words = tuple(module.segment(n) for n in module.parents if _is_at(module, n, value))
        return (words[:1], tuple(words_of(module, other) for _, other in value.instead))
    if isinstance(value, tuple):
        return tuple(words_of(module, item) for item in value)
    if is_dataclass(value):
        return tuple(words_of(module, getattr(value, field.name)) for field in fields(value))
    return None if isinstance(value, ast.AST) else value


def _is_at(module: Module, node: ast.AST, kept: Kept) -> bool:
    return isinstance(node, ast.expr) and module.span(node) == kept.span


def with_names(value: _T, names: Mapping[Span, Variable]) -> _T:
    """A part of a plan that has variables for the expressions at some places."""
    made: Any = _named(value, names)
    result: _T = made
    return result


def _named(value: object, names: Mapping[Span, Variable]) -> object:
    if isinstance(value, Kept):
        if value.span in names:
            return names[value.span]
        inside = tuple((s, n) for s, n in names.items() if value.span.contains(s))
        return replace(value, instead=(*value.instead, *inside)) if inside else value
    if isinstance(value, Code):
        return refilled(value, lambda hole: with_names(hole, names))
    if isinstance(value, tuple):
        return tuple(_named(item, names) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: _named(part, names) for name, part in found.items()})
    return value
