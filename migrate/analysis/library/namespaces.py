"""Objects of Python's own that are nothing but their attributes: `types.SimpleNamespace`."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.models import Models
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.values import NOTHING, Atom, Const, Result, Symbol, Value, join

NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")

models = Models()


def is_namespace(atom: Atom) -> bool:
    """Whether an object is one that has what was stored in it, and nothing more."""
    return isinstance(atom, Result) and atom.symbol in NAMESPACES


def stored(machine: Machine, atom: Result, attr: object) -> Value:
    """What was stored on an object of a library, under this name or under one not known."""
    heap = machine.heap
    return join(heap.read("result", atom.site, attr), heap.read("result", atom.site, ANY))


@models(*NAMESPACES)
def make_namespace(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """`SimpleNamespace(model=model)`; constants may be set again where nobody sees it."""
    site = machine.module.site(node)
    for word, value in passed.kwargs.items():
        held = frozenset(atom for atom in value if not isinstance(atom, Const))
        if held:
            machine.heap.write(held, "result", site, word)
    return None


@models("collections.defaultdict")
def make_default_dict(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """`defaultdict(list)`: what is under a new key is a list that can be filled."""
    made = machine.container(node, "dict")
    for factory in passed.args[0] if passed.args else NOTHING:
        name = factory.name.removeprefix("builtins.") if isinstance(factory, Symbol) else ""
        fresh: Value = frozenset({machine.container(node.func, name)})
        known = name in {"dict", "list", "set"}
        value = fresh if known else machine.call(factory, Passed(node=node))
        machine.heap.write(value, "item", made.site, ANY)
    return frozenset({made})


NAMED_TUPLE = "collections.namedtuple"


def make_named_tuple(machine: Machine, cls: Result, passed: Passed) -> Value | None:
    """An object of `namedtuple("Pair", ["model", "optimizer"])`; None if its fields are unknown."""
    making = machine.record.call_nodes.get(cls.site)
    names = _fields(making) if making is not None else []
    if passed.node is None or not names:
        return None
    site = machine.module.site(passed.node)
    for name, value in [*zip(names, passed.args, strict=False), *passed.kwargs.items()]:
        machine.heap.write(value, "result", site, name)
        machine.heap.write(value, "item", site, ANY)
    return frozenset({Result(NAMED_TUPLE, site)})


def _fields(making: ast.Call) -> list[str]:
    """The names of the fields, in their order."""
    named = {keyword.arg: keyword.value for keyword in making.keywords}
    given = making.args[1] if len(making.args) > 1 else named.get("field_names")
    if isinstance(given, ast.List | ast.Tuple):
        return [str(e.value) for e in given.elts if isinstance(e, ast.Constant)]
    return str(given.value).replace(",", " ").split() if isinstance(given, ast.Constant) else []
