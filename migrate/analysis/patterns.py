"""What the patterns of a `match` statement bind."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.attributes import attribute
from fsdp_migrate.analysis.library.containers import elements, item, store_item
from fsdp_migrate.analysis.machine import Machine
from fsdp_migrate.analysis.scopes import bind
from fsdp_migrate.analysis.values import Atom, Instance, Value, constant, join, ordered


def bind_pattern(machine: Machine, pattern: ast.pattern, value: Value) -> None:
    """Bind the names in a pattern that `value` matches."""
    match pattern:
        case ast.MatchAs(pattern=inner, name=name):
            if inner is not None:
                bind_pattern(machine, inner, value)
            if name is not None:
                bind(machine, name, value)
        case ast.MatchOr(patterns=patterns):
            for each in patterns:
                bind_pattern(machine, each, value)
        case ast.MatchValue(value=node):
            machine.evaluate(node)
        case ast.MatchSequence(patterns=patterns):
            _bind_items(machine, patterns, value)
        case ast.MatchMapping(keys=keys, patterns=patterns, rest=rest):
            for key, each in zip(keys, patterns, strict=True):
                known = constant(machine.evaluate(key))
                found = (item(machine, a, known.value if known else ANY) for a in ordered(value))
                bind_pattern(machine, each, join(*found))
            if rest is not None:
                bind(machine, rest, value)
        case ast.MatchClass():
            _bind_attributes(machine, pattern, value)


def _bind_items(machine: Machine, patterns: list[ast.pattern], value: Value) -> None:
    counted = not any(isinstance(each, ast.MatchStar) for each in patterns)
    for index, each in enumerate(patterns):
        if isinstance(each, ast.MatchStar):
            rest = machine.container(each, "list")
            store_item(machine, rest, ANY, elements(machine, value))
            if each.name is not None:
                bind(machine, each.name, frozenset({rest}))
        else:
            found = (item(machine, atom, index) for atom in ordered(value))
            bind_pattern(machine, each, join(*found) if counted else elements(machine, value))


def _bind_attributes(machine: Machine, pattern: ast.MatchClass, value: Value) -> None:
    machine.evaluate(pattern.cls)
    for index, each in enumerate(pattern.patterns):
        found: list[Value] = []
        for atom in ordered(value):
            known = (
                machine.program.classes[atom.cls].field_order if isinstance(atom, Instance) else ()
            )
            name = known[index] if index < len(known) else None
            found.append(frozenset({atom}) if name is None else attribute(machine, atom, name))
        bind_pattern(machine, each, join(*found))
    for name, each in zip(pattern.kwd_attrs, pattern.kwd_patterns, strict=True):
        bind_pattern(machine, each, join(*(attribute(machine, a, name) for a in ordered(value))))


def _fields(machine: Machine, atom: Atom) -> tuple[str, ...]:
    """The fields of an object in their order, where its class declares them."""
    if not isinstance(atom, Instance):
        return ()
    return machine.program.classes[atom.cls].field_order
