"""What stands in a list of parameters, as far as the text of a function shows it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.library.modules import PARAMETERS
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import path_of

DEPTH = 3  # variables that are followed
LOAD = ast.Load()
DISPLAYS = ast.List | ast.Tuple | ast.Set


def groups_in(module: Module, given: ast.expr) -> list[ast.expr]:
    """The parameters of each group that an optimizer is given; `given` itself if it is one."""
    found = [
        value
        for group in _members(module, given, 0)
        if isinstance(group, ast.Dict)
        for key, value in zip(group.keys, group.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "params"
    ]
    return found or [given]


def _members(module: Module, node: ast.expr, depth: int) -> Iterator[ast.expr]:
    """The elements of a list, be it behind a name."""
    if isinstance(node, DISPLAYS):
        yield from node.elts
    elif isinstance(node, ast.Name) and depth < DEPTH:
        for value, is_element in _put_in(module, node):
            if is_element:
                yield value
            else:
                yield from _members(module, value, depth + 1)


def receivers(module: Module, given: ast.expr, depth: int = 0) -> Iterator[ast.expr]:
    """The `x` of each `x.parameters()` in an expression and in the variables that it names."""
    for node in nodes_in(given):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in PARAMETERS:
                yield node.func.value
    for value, _ in _named(module, given) if depth < DEPTH else ():
        yield from receivers(module, value, depth + 1)


def elements(module: Module, given: ast.expr, depth: int = 0) -> Iterator[ast.expr]:
    """What is put into a list one by one: `scale` in `[*net.parameters(), scale]`."""
    for node in nodes_in(given):
        if isinstance(node, DISPLAYS) and isinstance(getattr(node, "ctx", LOAD), ast.Load):
            yield from (e for e in node.elts if not isinstance(e, ast.Starred | DISPLAYS))
    for value, is_element in _named(module, given) if depth < DEPTH else ():
        if is_element:
            yield value
        yield from elements(module, value, depth + 1)


def _named(module: Module, given: ast.expr) -> Iterator[tuple[ast.expr, bool]]:
    """What is in the variables that an expression reads."""
    for node in nodes_in(given):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield from _put_in(module, node)


def _put_in(module: Module, name: ast.Name) -> Iterator[tuple[ast.expr, bool]]:
    """What is assigned to a variable; or put into the list that it is, one by one if so."""
    for node in own_nodes(module.scope(name)):
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == name.id for t in targets):
                yield node.value, False
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in {"append", "extend"} and path_of(node.func.value) == name.id:
                yield from ((value, node.func.attr == "append") for value in node.args)


def loops_of(module: Module, name: ast.Name) -> list[ast.expr]:
    """What the loops go through that a variable stands in."""
    return [
        loop.iter
        for loop in nodes_in(module.scope(name))
        if isinstance(loop, ast.For | ast.comprehension)
        and any(isinstance(node, ast.Name) and node.id == name.id for node in nodes_in(loop.target))
    ]


def is_of_loop(module: Module, name: ast.Name) -> bool:
    """Whether a variable stands for one thing after the other: that of a loop."""
    return bool(loops_of(module, name))
