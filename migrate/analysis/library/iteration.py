"""What Python's functions on sequences and iterators give back of the items that they are given."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.containers import elements, store_item
from fsdp_migrate.analysis.library.fsdp1 import call_back
from fsdp_migrate.analysis.library.models import Models
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    Bound,
    Cls,
    Const,
    Func,
    Instance,
    Partial,
    Unknown,
    Value,
    Wrapped,
    join,
    ordered,
    unknown,
)

models = Models()


@models("builtins.next", "builtins.anext")
def next_item(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """`next(items, default)`."""
    return join(_items(machine, passed, 0), *passed.args[1:])


@models("builtins.max", "builtins.min")
def extreme(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """One of the items, or of the arguments, which matters where they are no numbers."""
    items = _items(machine, passed, 0) if len(passed.args) == 1 else join(*passed.args)
    found = join(items, passed.kwargs.get("default", NOTHING))
    return found if any(map(_is_object, found)) else None


@models("random.choice")
def chosen(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """One of the items."""
    return _items(machine, passed, 0)


@models("builtins.zip", "itertools.zip_longest", "itertools.product")
def zip_columns(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """A list of tuples with an item out of each argument."""
    return _rows(machine, node, [elements(machine, value) for value in passed.args])


@models("builtins.enumerate")
def enumerate_items(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """A list of pairs of an index and an item."""
    columns = [elements(machine, value) for value in passed.args]
    return _rows(machine, node, [unknown("an index"), *columns[:1]])


@models("builtins.map")
def map_items(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """A list of what a function gives for the items."""
    columns = [elements(machine, value) for value in passed.args[1:]]
    return _called(machine, node, passed, Passed(columns, node=node))


@models("itertools.starmap")
def map_rows(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """A list of what a function gives for rows of arguments."""
    rows = _items(machine, passed, 1)
    return _called(machine, node, passed, Passed([elements(machine, rows)], node=node))


@models("functools.reduce")
def reduce_items(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """`reduce(function, items, start)`: what the function gives is its first argument, too."""
    items = _items(machine, passed, 1)
    result = passed.args[2] if len(passed.args) > 2 else items
    for _ in range(2):
        step = Passed([result, items], node=node)
        result = join(result, *_results(machine, passed, step))
    return result


@models("builtins.filter", "itertools.filterfalse", "itertools.takewhile", "itertools.dropwhile")
def second_argument(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """Some of the items that come second."""
    return passed.args[1] or None if len(passed.args) > 1 else None


@models("itertools.chain")
def chain_items(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """The items of all arguments."""
    return _listed(machine, node, join(*(elements(machine, value) for value in passed.args)))


@models("itertools.chain.from_iterable")
def chain_lists(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """The items of all items."""
    return _listed(machine, node, elements(machine, _items(machine, passed, 0)))


@models("itertools.repeat")
def repeated(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """The same thing again and again."""
    return _listed(machine, node, join(*passed.args[:1]))


@models("itertools.tee", "itertools.batched", "itertools.combinations", "itertools.permutations")
def grouped(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """Lists of the items."""
    return _listed(machine, node, join(*passed.args[:1]))


@models("itertools.groupby")
def grouped_by_key(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """Pairs of a key and a list of the items."""
    group = machine.container(node.args[0] if node.args else node, "list")
    store_item(machine, group, ANY, _items(machine, passed, 0))
    return _rows(machine, node, [unknown("a key"), frozenset({group})])


def _is_object(atom: Atom) -> bool:
    kinds = (Bound, Cls, Func, Instance, Partial, Wrapped)
    return isinstance(atom, kinds) or (isinstance(atom, Unknown) and bool(atom.models))


def _items(machine: Machine, passed: Passed, index: int) -> Value:
    return elements(machine, passed.args[index]) if len(passed.args) > index else NOTHING


def _called(machine: Machine, node: ast.Call, passed: Passed, step: Passed) -> Value:
    return _listed(machine, node, join(*_results(machine, passed, step)))


def _results(machine: Machine, passed: Passed, step: Passed) -> list[Value]:
    """What the function that comes first gives, called with `step`."""
    functions = passed.args[0] if passed.args else NOTHING
    return [
        call_back(machine, function, step)
        for function in ordered(functions)
        if not isinstance(function, Const)
    ]


def _listed(machine: Machine, node: ast.Call, items: Value) -> Value:
    made = machine.container(node, "list")
    store_item(machine, made, ANY, items)
    return frozenset({made})


def _rows(machine: Machine, node: ast.Call, columns: list[Value]) -> Value:
    row = machine.container(node.func, "tuple")
    for index, column in enumerate(columns):
        store_item(machine, row, index, column)
    return _listed(machine, node, frozenset({row}))
