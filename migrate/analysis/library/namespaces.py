"""Objects of Python's own that are nothing but their attributes: `types.SimpleNamespace`."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.models import Models
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.values import Atom, Const, Result, Value, join

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
