"""Binding: values to targets of any shape, and to the attributes of objects.

What is assigned to `self.x` (or to another path that starts at a variable) is followed by its
path, like a variable, until something may look at the object; then it goes on the heap.  Paths
that the heap has not seen yet are in the state a second time, with a `!` at their end.
"""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.attributes import attribute
from fsdp_migrate.analysis.library.containers import elements, item, store_item
from fsdp_migrate.analysis.library.fsdp1 import inner_of
from fsdp_migrate.analysis.machine import Machine
from fsdp_migrate.analysis.scopes import bind, expose, forget, variable
from fsdp_migrate.analysis.values import (
    Cls,
    Container,
    Instance,
    ModuleRef,
    Result,
    Value,
    Wrapped,
    constant,
    join,
    ordered,
)
from fsdp_migrate.syntax.paths import path_of


def assign(machine: Machine, target: ast.expr, value: Value, source: ast.expr | None) -> None:
    """Bind `value` to a target; `source` is where it is written, if that is known."""
    path = path_of(target)
    if path is not None:
        flush_attributes(machine, below=f"{path}.")
    if isinstance(target, ast.Name):
        bind(machine, target.id, value)
    elif isinstance(target, ast.Attribute):
        base = machine.evaluate(target.value)
        if path is not None and any(isinstance(atom, Instance) for atom in base):
            forget(machine.env, path)
            machine.env[path] = value
            machine.env[f"{path}!"] = value
        else:
            store_attribute(machine, base, target.attr, value)
    elif isinstance(target, ast.Tuple | ast.List):
        _unpack(machine, target, value, source)
    elif isinstance(target, ast.Subscript):
        key = constant(machine.evaluate(target.slice))
        for atom in ordered(machine.evaluate(target.value)):
            store_item(machine, atom, key.value if key else ANY, value)


def _unpack(
    machine: Machine, target: ast.Tuple | ast.List, value: Value, source: ast.expr | None
) -> None:
    """Bind the items of a tuple, one by one where both sides are written out."""
    if any(isinstance(inner, ast.Starred) for inner in target.elts):
        _unpack_rest(machine, target, value, source)
        return
    if isinstance(source, ast.Tuple | ast.List) and len(source.elts) == len(target.elts):
        for inner, node in zip(target.elts, source.elts, strict=True):
            assign(machine, inner, machine.record.value(node), node)
        return
    for index, inner in enumerate(target.elts):
        found = [item(machine, atom, index) for atom in ordered(value)]
        assign(machine, inner, join(*found), None)


def _unpack_rest(
    machine: Machine, target: ast.Tuple | ast.List, value: Value, source: ast.expr | None
) -> None:
    """Bind the items of `first, *rest = ...`, where `rest` is a list of those that are left."""
    at = next(i for i, inner in enumerate(target.elts) if isinstance(inner, ast.Starred))
    star, after = target.elts[at], len(target.elts) - at - 1
    assert isinstance(star, ast.Starred)
    rest = machine.container(star, "list")
    items = _each(machine, value, source)
    if items is None or len(items) < at + after:
        every = elements(machine, value)
        store_item(machine, rest, ANY, every)
        single = [every] * (at + after)
    else:
        for index, given in enumerate(items[at : len(items) - after]):
            store_item(machine, rest, index, given)
        single = [*items[:at], *items[len(items) - after :]]
    others = [inner for inner in target.elts if inner is not star]
    for inner, given in zip(others, single, strict=True):
        assign(machine, inner, given, None)
    assign(machine, star.value, frozenset({rest}), None)


def _each(machine: Machine, value: Value, source: ast.expr | None) -> list[Value] | None:
    """The items of a tuple or list one by one; None if it isn't known how many there are."""
    if isinstance(source, ast.Tuple | ast.List):
        starred = any(isinstance(node, ast.Starred) for node in source.elts)
        return None if starred else [machine.record.value(node) for node in source.elts]
    atoms = list(ordered(value))
    if len(atoms) != 1 or not isinstance(atoms[0], Container) or atoms[0].kind == "dict":
        return None
    keys = machine.heap.item_keys(atoms[0].site)
    if not all(isinstance(key, int) for key in keys):
        return None
    return [item(machine, atoms[0], index) for index in range(len(keys))]


def store_attribute(machine: Machine, base: Value, attr: str, value: Value) -> None:
    """Put `value` on the heap as the attribute `attr` of all that `base` can be."""
    heap = machine.heap
    for atom in ordered(base):
        if isinstance(atom, Instance):
            heap.write(value, "field", atom.cls, attr)
        elif isinstance(atom, Cls):
            heap.write(value, "class", atom.site, attr)
        elif isinstance(atom, ModuleRef):
            heap.write(value, "name", atom.module, attr)
        elif isinstance(atom, Wrapped) and atom.site in machine.record.wraps:
            store_attribute(machine, inner_of(machine, atom), attr, value)
        elif isinstance(atom, Result):
            heap.write(value, "result", atom.site, attr)


def flush_attributes(machine: Machine, below: str = "") -> None:
    """Put the `self.x` that were assigned here, those `below` a path, where other functions see."""
    for path, value in list(machine.env.items()):
        if path.endswith("!") and path.startswith(below):
            base, _, attr = path[:-1].rpartition(".")
            store_attribute(machine, _path_value(machine, base), attr, value)
            del machine.env[path]


def _path_value(machine: Machine, path: str) -> Value:
    """What `a.b.c` is at this point."""
    head, *rest = path.split(".")
    value = variable(machine, head)
    for index, attr in enumerate(rest):
        prefix = ".".join([head, *rest[: index + 1]])
        known = machine.env.get(prefix)
        if known is None:
            known = join(*(attribute(machine, atom, attr) for atom in ordered(value)))
        value = known
    return value


def settle_state(machine: Machine) -> None:
    """Before a call into the project: what it can see of this scope is what holds now."""
    expose(machine, only_captured=True)
    flush_attributes(machine)
    for path in [p for p in machine.env if "." in p]:
        del machine.env[path]
