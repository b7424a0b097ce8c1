"""The nodes of a syntax tree, for trees that are walked many times and never changed.

What a walk finds is kept on the nodes themselves: their children, and for modules, functions and
classes all that is in them.  A tree that gets changed has to be a `fresh_copy`, which has none of
that yet, and is walked with `ast.walk`.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TypeVar, cast

_Node = TypeVar("_Node", bound=ast.AST)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_KEEP = (*SCOPES, ast.Module)
_CHILDREN, _INSIDE, _KINDS, _OWN = "_children", "_inside", "_kinds", "_own"


def children(node: ast.AST) -> Sequence[ast.AST]:
    """The nodes that are parts of `node` itself, but for the contexts of names."""
    known: tuple[ast.AST, ...] | None = getattr(node, _CHILDREN, None)
    if known is None:
        found: list[ast.AST] = []
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                found += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                found.append(value)
        known = tuple(found)
        setattr(node, _CHILDREN, known)
    return known


def nodes_in(node: ast.AST) -> Sequence[ast.AST]:
    """`node` and all nodes in it, in the order of `ast.walk`, but for the contexts of names."""
    known: tuple[ast.AST, ...] | None = getattr(node, _INSIDE, None)
    if known is not None:
        return known
    found = [node]
    for each in found:  # which grows
        inside = getattr(each, _CHILDREN, None)
        found += children(each) if inside is None else inside
    if not isinstance(node, _KEEP):
        return found
    setattr(node, _INSIDE, tuple(found))
    return nodes_in(node)


def all_in(node: ast.AST, kind: type[_Node]) -> Sequence[_Node]:
    """The nodes of one kind in `node`, itself included."""
    if not isinstance(node, _KEEP):
        return [each for each in nodes_in(node) if isinstance(each, kind)]
    kinds: dict[type[ast.AST], Sequence[ast.AST]] = vars(node).setdefault(_KINDS, {})
    if kind not in kinds:
        kinds[kind] = tuple(each for each in nodes_in(node) if isinstance(each, kind))
    return cast(Sequence[_Node], kinds[kind])


def own_nodes(node: ast.AST) -> Sequence[ast.AST]:
    """`node` and what is in it, nested functions and classes as single nodes."""
    known: tuple[ast.AST, ...] | None = getattr(node, _OWN, None)
    if known is not None:
        return known
    found: list[ast.AST] = []
    todo = [node]
    while todo:
        item = todo.pop()
        found.append(item)
        if item is node or not isinstance(item, SCOPES):
            todo += children(item)
    if not isinstance(node, _KEEP):
        return found
    setattr(node, _OWN, tuple(found))
    return own_nodes(node)


def fresh_copy(node: _Node) -> _Node:
    """A copy of a tree, to be changed."""
    made = type(node).__new__(type(node))
    for name in (*node._fields, *node._attributes):
        if hasattr(node, name):
            setattr(made, name, _copied(getattr(node, name)))
    return made


def _copied(value: object) -> object:
    if isinstance(value, ast.AST):
        return fresh_copy(value) if value._fields else value
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
