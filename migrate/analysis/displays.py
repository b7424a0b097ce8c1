"""Expressions that make a container: lists, tuples, sets, dicts and comprehensions."""

from __future__ import annotations

import ast
from collections.abc import Hashable, Mapping

from fsdp_migrate.analysis.assignment import assign
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.containers import elements, has_always, merge_dict, store_item
from fsdp_migrate.analysis.machine import Evaluate, Machine
from fsdp_migrate.analysis.narrowing import narrow
from fsdp_migrate.analysis.scopes import with_walruses
from fsdp_migrate.analysis.values import NONE, NOTHING, Container, Value, constant, join


def list_display(machine: Machine, node: ast.List | ast.Set) -> Value:
    """`[a, *b]` and `{a, *b}`."""
    made = machine.container(node, "list")
    for item in node.elts:
        store_item(machine, made, ANY, _given(machine, item))
    return frozenset({made})


def tuple_display(machine: Machine, node: ast.Tuple) -> Value:
    """`a, *b`: items by their index, up to where a star makes it unknown."""
    made = machine.container(node, "tuple")
    starred = any(isinstance(item, ast.Starred) for item in node.elts)
    for index, item in enumerate(node.elts):
        store_item(machine, made, ANY if starred else index, _given(machine, item))
    return frozenset({made})


def _given(machine: Machine, item: ast.expr) -> Value:
    """What an item of a display puts in."""
    if isinstance(item, ast.Starred):
        return elements(machine, machine.evaluate(item.value))
    return machine.evaluate(item)


def dict_display(machine: Machine, node: ast.Dict) -> Value:
    """`{key: value, **other}`."""
    made = machine.container(node, "dict")
    for key_node, value_node in zip(node.keys, node.values, strict=True):
        value = machine.evaluate(value_node)
        if key_node is None:
            merge_dict(machine, made, value, new=True)
            continue
        key = constant(machine.evaluate(key_node))
        store_item(machine, made, key.value if key else ANY, value)
        if key is not None:
            has_always(machine, made, key.value)
    return frozenset({made})


def list_comprehension(
    machine: Machine, node: ast.ListComp | ast.SetComp | ast.GeneratorExp
) -> Value:
    """`[a for a in b if c]`, and the same of sets and generators."""
    saved = dict(machine.env)
    _bind_generators(machine, node.generators)
    made = machine.container(node, "list")
    store_item(machine, made, ANY, machine.evaluate(node.elt))
    machine.env = with_walruses(machine, saved, node)
    return frozenset({made})


def dict_comprehension(machine: Machine, node: ast.DictComp) -> Value:
    """`{a: b for a, b in c}`."""
    saved = dict(machine.env)
    _bind_generators(machine, node.generators)
    made = machine.container(node, "dict")
    key, value = constant(machine.evaluate(node.key)), machine.evaluate(node.value)
    copied = _copied(machine, node)
    if copied is None:
        store_item(machine, made, key.value if key else ANY, value)
    for name, item in (copied or {}).items():
        store_item(machine, made, name, item)
    machine.env = with_walruses(machine, saved, node)
    return frozenset({made})


def _copied(machine: Machine, node: ast.DictComp) -> Mapping[Hashable, Value] | None:
    """The items of `{key: value for key, value in d.items() if ...}`, where their keys are known.

    Conditions leave some of them out.
    """
    match node:
        case ast.DictComp(
            key=ast.Name(id=key),
            value=ast.Name(id=value),
            generators=[
                ast.comprehension(
                    target=ast.Tuple(elts=[ast.Name(id=first), ast.Name(id=second)]),
                    iter=ast.Call(func=ast.Attribute(value=owner, attr="items"), args=[]),
                    ifs=tests,
                )
            ],
        ) if (key, value) == (first, second):
            pass
        case _:
            return None
    dicts = machine.record.value(owner)
    if not dicts or not all(isinstance(a, Container) and a.kind == "dict" for a in dicts):
        return None
    left_out = NONE if any(_asks_for(test, value) for test in tests) else NOTHING
    found: dict[Hashable, Value] = {}
    for atom in dicts:
        assert isinstance(atom, Container)
        for name in machine.heap.item_keys(atom.site):
            item = machine.heap.read("item", atom.site, name)
            found[name] = join(found.get(name, NOTHING), item - left_out)
    return found


def _asks_for(test: ast.expr, name: str) -> bool:
    """Whether a variable is None where the test fails: `name`, or `name is not None`."""
    match test:
        case ast.Name(id=tested):
            return tested == name
        case ast.Compare(left=ast.Name(id=tested), ops=[ast.IsNot()], comparators=[other]):
            return tested == name and isinstance(other, ast.Constant) and other.value is None
    return False


def _bind_generators(machine: Machine, generators: list[ast.comprehension]) -> None:
    for generator in generators:
        items = elements(machine, machine.evaluate(generator.iter))
        assign(machine, generator.target, items, None)
        for test in generator.ifs:
            machine.evaluate(test)
            narrow(machine, test, True)


DISPLAYS: Mapping[type[ast.expr], Evaluate] = {
    ast.List: list_display,
    ast.Set: list_display,
    ast.Tuple: tuple_display,
    ast.Dict: dict_display,
    ast.ListComp: list_comprehension,
    ast.SetComp: list_comprehension,
    ast.GeneratorExp: list_comprehension,
    ast.DictComp: dict_comprehension,
}
