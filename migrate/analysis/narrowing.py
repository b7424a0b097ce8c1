"""What a condition says about a variable: `isinstance`, `hasattr`, `is None`, and its truth."""

from __future__ import annotations

import ast
from collections.abc import Set

from fsdp_migrate.analysis.library.classes import class_name, has_method, is_instance
from fsdp_migrate.analysis.library.containers import elements
from fsdp_migrate.analysis.library.fsdp1 import OWN_METHODS, inner_of
from fsdp_migrate.analysis.library.modules import OTHER_WRAPPERS
from fsdp_migrate.analysis.library.tensors import OF_DTENSORS, is_sharded
from fsdp_migrate.analysis.machine import Machine
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Container,
    Instance,
    Result,
    Unknown,
    Value,
    Wrapped,
    constant,
    is_symbol,
    join,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

DTENSORS: Set[str | Site | None] = frozenset(
    f"torch.distributed.{module}.DTensor"
    for module in ("_tensor", "_tensor.api", "tensor", "tensor._api", "tensor.api")
)


def narrow(machine: Machine, test: ast.expr, truth: bool) -> None:
    """Keep of the variables in `test` what they can be where it is `truth`."""
    match test:
        case ast.UnaryOp(op=ast.Not()):
            narrow(machine, test.operand, not truth)
        case ast.BoolOp():
            if isinstance(test.op, ast.And) == truth:
                for part in test.values:
                    narrow(machine, part, truth)
        case ast.Call(func=func, args=[node, asked]):
            asks = machine.record.value(func)
            if is_symbol(asks, "builtins.isinstance"):
                narrow_class(machine, node, asked, truth)
            elif is_symbol(asks, "builtins.hasattr"):
                _narrow_attribute(machine, node, asked, truth)
        case ast.Compare(ops=[ast.Is() | ast.IsNot() as op], comparators=[ast.Constant(None)]):
            if isinstance(op, ast.Is) != truth:
                _drop_none(machine, test.left)
        case ast.Name() | ast.Attribute():
            if truth:
                _drop_none(machine, test)


def _drop_none(machine: Machine, node: ast.expr) -> None:
    path = path_of(node)
    if path is not None:
        value = machine.evaluate(node) - NONE
        if value:
            machine.env[path] = value


def narrow_class(machine: Machine, node: ast.expr, classes: ast.expr, truth: bool) -> None:
    """Keep of a variable what is an instance of `classes`, or what isn't."""
    path = path_of(node)
    if path is None:
        return
    tested = _tested(machine, classes)
    value = machine.evaluate(node)
    known = {class_name(atom) for atom in tested} - {None}
    if not known or len(known) != len(tested):
        return
    kept: set[Atom] = set()
    for atom in value:
        if known <= DTENSORS and is_sharded(atom):
            answer: bool | None = True
        else:
            answer = is_instance(machine.classes, atom, known)
        if answer is None and _is_around_others(machine, atom, known):
            answer = False
        if answer is None:
            kept |= _unsure(machine.module.site(node), atom, known, truth)
        elif answer == truth:
            kept.add(atom)
    if truth and not kept and known <= OTHER_WRAPPERS:  # nothing seen here makes one
        kept |= _made(machine.module.site(node), known)
    machine.env[path] = frozenset(kept)


def _is_around_others(machine: Machine, atom: Atom, classes: Set[str | Site | None]) -> bool:
    """Whether an FSDP1 model is none of the program's `classes`, and the module inside neither."""
    if not isinstance(atom, Wrapped) or not all(
        isinstance(cls, Site) or cls in OTHER_WRAPPERS for cls in classes
    ):
        return False
    hierarchy, inner = machine.classes, inner_of(machine, atom)
    bases = {b for cls in classes if isinstance(cls, Site) for b in hierarchy.library_bases(cls)}
    return (
        bool(inner)
        and FSDP1 not in bases
        and all(
            (isinstance(a, Instance) and classes.isdisjoint(hierarchy.lineage(a.cls)))
            or (isinstance(a, Result) and a.symbol.startswith("torch.nn."))
            for a in inner
        )
    )


def _tested(machine: Machine, classes: ast.expr) -> Value:
    """The classes that `isinstance` is asked about."""
    named = classes.elts if isinstance(classes, ast.Tuple) else [classes]
    tested = join(*(machine.evaluate(node) for node in named))
    for atom in tested:
        if isinstance(atom, Container):  # a tuple of classes by its name
            tested = join(tested - {atom}, elements(machine, frozenset({atom})))
    return tested


def _unsure(site: Site, atom: Atom, known: set[str | Site | None], truth: bool) -> set[Atom]:
    """What to go on with for an object that may be of the classes `known` or not."""
    kept: set[Atom] = set()
    if truth and FSDP1 in known:
        kept.add(Wrapped(None))
    if truth and known <= OTHER_WRAPPERS and isinstance(atom, Unknown):
        kept |= _made(site, known)
    elif not truth or known != {FSDP1}:
        kept.add(atom)
    return kept


def _made(site: Site, classes: set[str | Site | None]) -> set[Atom]:
    """Objects of libraries' classes."""
    return {Result(name, site) for name in classes if isinstance(name, str)}


def _narrow_attribute(machine: Machine, node: ast.expr, name: ast.expr, truth: bool) -> None:
    """`hasattr(model, "no_sync")`: FSDP1 models have its methods, plain modules do not.

    A sharded parameter will have what DTensors have.
    """
    path, attr = path_of(node), constant(machine.evaluate(name))
    if path is None or attr is None:
        return
    if attr.value in OF_DTENSORS and not truth:
        machine.env[path] = frozenset(a for a in machine.evaluate(node) if not is_sharded(a))
    if attr.value not in OWN_METHODS:
        return
    machine.env[path] = frozenset(
        atom
        for atom in machine.evaluate(node)
        if has_method(machine.classes, atom, str(attr.value)) in (None, truth)
    )
