"""What statements and calls store: as an attribute of an object, or in a list or dict."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.syntax.module import Scope, scope_nodes

# Methods of lists that keep what they are given, and which argument that is.
KEEP = {"append": 0, "appendleft": 0, "extend": 0, "insert": 1, "setdefault": 1}


def attribute_stores(node: ast.AST) -> Iterator[tuple[str, ast.expr, ast.expr]]:
    """The attributes that a statement (or `setattr`) stores: name, object and value."""
    match node:
        case ast.Assign():
            for target in node.targets:
                yield from _pairs(target, node.value)
        case ast.AnnAssign(target=ast.Attribute() as target, value=ast.expr() as value):
            yield target.attr, target.value, value
        case ast.Call(func=ast.Name(id="setattr"), args=[owner, ast.Constant(str(name)), value]):
            yield name, owner, value


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr, ast.expr]]:
    """The attributes among the targets of an assignment, with what each is given."""
    pair = (ast.Tuple, ast.List)
    if isinstance(target, ast.Attribute):
        yield target.attr, target.value, value
    elif isinstance(target, pair):
        aligned = isinstance(value, pair) and len(target.elts) == len(value.elts)
        parts = value.elts if isinstance(value, pair) and aligned else [value] * len(target.elts)
        for inner, part in zip(target.elts, parts, strict=True):
            yield from _pairs(inner, part)


def item_stores(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The lists and dicts that a statement or a call puts something into, and what."""
    match node:
        case ast.Assign(targets=[ast.Subscript(value=target)], value=value):
            yield target, value
        case ast.Call(func=ast.Attribute(value=target, attr=method), args=args):
            index = KEEP.get(method)
            if index is not None and len(args) > index:
                yield target, args[index]


def kept_items(scope: Scope, name: str, key: object = None) -> Iterator[ast.expr]:
    """What is put into a list or dict that a variable stands for; with `key`, what can be there."""
    for node in scope_nodes(scope):
        for target, value in item_stores(node):
            at = _key_of(node)
            if (
                isinstance(target, ast.Name)
                and target.id == name
                and (key is None or at in (None, key))
            ):
                yield value


def _key_of(node: ast.AST) -> object:
    """The constant key that a statement stores under; None where it isn't known."""
    match node:
        case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=key))]):
            return key
    return None
