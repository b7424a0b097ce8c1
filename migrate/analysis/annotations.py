"""What annotations promise: objects of the program's classes, FSDP1 models, and lists of these."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.machine import Machine
from fsdp_migrate.analysis.values import (
    MODEL,
    NOTHING,
    Cls,
    Container,
    Instance,
    Symbol,
    Value,
    Wrapped,
    join,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short

UNIONS = frozenset({"Annotated", "ClassVar", "Final", "Optional", "Required", "Union"})
LISTS = frozenset(
    {
        "list",
        "set",
        "tuple",
        "List",
        "Set",
        "Tuple",
        "Sequence",
        "Iterable",
        "Iterator",
        "Collection",
    }
)
DICTS = frozenset({"dict", "Dict", "Mapping", "MutableMapping", "defaultdict", "OrderedDict"})


def promised(machine: Machine, annotation: ast.expr | None) -> Value:
    """The objects that an annotation promises: of classes of the project, or FSDP models."""
    found: Value = NOTHING
    for atom in _named(machine, annotation):
        if isinstance(atom, Cls):
            found = join(found, frozenset(map(Instance, machine.classes.kinds(atom.site))))
        elif atom == Symbol(FSDP1):
            found = join(found, MODEL)
        elif isinstance(atom, Container):
            found = join(found, frozenset({atom}))
    return found


def promises_model(machine: Machine, annotation: ast.expr | None) -> bool:
    """Whether an annotation says that something is an FSDP1 model (or None), and nothing else."""
    return promised(machine, annotation) == MODEL


def _named(machine: Machine, node: ast.expr | None) -> Value:
    """The classes that an annotation names, `Optional` and unions taken apart."""
    if node is None:
        return NOTHING
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return _named(machine, ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return NOTHING
    if isinstance(node, ast.BinOp):
        return join(_named(machine, node.left), _named(machine, node.right))
    if isinstance(node, ast.Subscript):
        return _generic(machine, node)
    return machine.evaluate(node)


def _generic(machine: Machine, node: ast.Subscript) -> Value:
    """`Optional[X]`, `list[X]`, `dict[str, X]`."""
    outer = machine.evaluate(node.value)
    names = {short(atom.name) for atom in outer if isinstance(atom, Symbol)}
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if names & UNIONS:
        return join(*(_named(machine, item) for item in items))
    held = [item for item in items if not isinstance(item, ast.Constant) or item.value is not ...]
    if names & DICTS:
        held = held[1:]
    elif not names & LISTS:
        return NOTHING
    models = join(*(promised(machine, item) for item in held))
    if Wrapped(None) not in models:
        return NOTHING
    made = machine.container(node, "dict" if names & DICTS else "list")
    machine.heap.write(models, "item", made.site, ANY)
    return frozenset({made})
