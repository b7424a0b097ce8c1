"""Binding: values to targets of any shape, and to the attributes of objects.

What is assigned to `self.x` (or to another path that starts at a variable) is followed by its
path, like a variable, until something may look at the object; then it goes on the heap.  Paths
that the heap has not seen yet are in the state a second time, with a `!` at their end.
"""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.attributes import attribute
from fsdp_migrate.analysis.library.containers import item, store_item
from fsdp_migrate.analysis.library.fsdp1 import inner_of
from fsdp_migrate.analysis.machine import COMPUTED, Machine
from fsdp_migrate.analysis.scopes import bind, expose, forget, variable
from fsdp_migrate.analysis.values import (
    Cls,
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
    if isinstance(target, ast.Name):
        bind(machine, target.id, value)
    elif isinstance(target, ast.Attribute):
        base = machine.evaluate(target.value)
        path = path_of(target)
        if path is not None and any(isinstance(atom, Instance) for atom in base):
            forget(machine.env, path)
            machine.env[path] = value
            machine.env[f"{path}!"] = value
        else:
            store_attribute(machine, base, target.attr, value)
    elif isinstance(target, ast.Tuple | ast.List):
        _unpack(machine, target, value, source)
    elif isinstance(target, ast.Starred):
        assign(machine, target.value, COMPUTED, None)
    elif isinstance(target, ast.Subscript):
        key = constant(machine.evaluate(target.slice))
        for atom in ordered(machine.evaluate(target.value)):
            store_item(machine, atom, key.value if key else ANY, value)


def _unpack(
    machine: Machine, target: ast.Tuple | ast.List, value: Value, source: ast.expr | None
) -> None:
    """Bind the items of a tuple, one by one where both sides are written out."""
    if isinstance(source, ast.Tuple | ast.List) and len(source.elts) == len(target.elts):
        for inner, node in zip(target.elts, source.elts, strict=True):
            assign(machine, inner, machine.record.value(node), node)
        return
    for index, inner in enumerate(target.elts):
        found = [item(machine, atom, index) for atom in ordered(value)]
        assign(machine, inner, join(*found), None)


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


def flush_attributes(machine: Machine) -> None:
    """Put the `self.x` that were assigned here where other functions see them."""
    for path, value in list(machine.env.items()):
        if path.endswith("!"):
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
