"""What a condition says about a variable: `isinstance`, `hasattr`, `is None`, and its truth."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Set
from dataclasses import dataclass

from fsdp_migrate.analysis.library.attributes import attribute
from fsdp_migrate.analysis.library.classes import class_name, has_method, is_instance
from fsdp_migrate.analysis.library.containers import elements
from fsdp_migrate.analysis.library.fsdp1 import OWN_METHODS, inner_of
from fsdp_migrate.analysis.library.modules import OTHER_WRAPPERS
from fsdp_migrate.analysis.library.tensors import OF_DTENSORS, is_sharded
from fsdp_migrate.analysis.machine import Machine
from fsdp_migrate.analysis.named_tests import NamedTests
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Container,
    Instance,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    constant,
    is_symbol,
    join,
    ordered,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

EQUAL = ast.Eq | ast.Is | ast.In
UNEQUAL = ast.NotEq | ast.IsNot | ast.NotIn
ENUMERATIONS = frozenset(
    f"{ROOT}.{name}" for name in ("BackwardPrefetch", "ShardingStrategy", "StateDictType")
)
_DEEP = 3  # names for tests that are made of named tests
DTENSORS: Set[str | Site | None] = frozenset(
    f"torch.distributed.{module}.DTensor"
    for module in ("_tensor", "_tensor.api", "tensor", "tensor._api", "tensor.api")
)


def narrow(machine: Machine, test: ast.expr, truth: bool) -> None:
    """Keep of the variables in `test` what they can be where it is `truth`."""
    _narrow(_Place(machine), test, truth)


_Stands = tuple[ast.expr, tuple[str, ...]]
"""What a variable stands for: an expression of this function, and attributes from there."""


@dataclass(frozen=True)
class _Place:
    """Where a test is written: here, or in another function, with what its variables mean here."""

    machine: Machine
    variables: Mapping[str, _Stands] | None = None
    depth: int = 0

    def value(self, node: ast.expr) -> Value:
        """What an expression of the test is that isn't narrowed."""
        known = self.variables is not None
        return self.machine.record.value(node) if known else self.machine.evaluate(node)

    def tested(self, node: ast.expr) -> tuple[str, Value] | None:
        """The path of what is asked about, as it is called here, and its value."""
        path, machine = path_of(node), self.machine
        if path is None:
            return None
        if self.variables is None:
            return path, machine.evaluate(node)
        stands = self._stands_for(path)
        here = path_of(stands[0]) if stands is not None else None
        if stands is None or here is None:
            return None
        value = machine.evaluate(stands[0])
        for name in stands[1]:
            here = f"{here}.{name}"
            there = value - NONE or value
            found = join(*(attribute(machine, atom, name) for atom in ordered(there)))
            value = machine.env.get(here, found)
        return here, value

    def behind(self, node: ast.expr) -> tuple[_Place, ast.expr] | None:
        """The test that a name in this one stands for, and where that is written."""
        if self.depth > _DEEP or (self.variables is not None and isinstance(node, ast.Name)):
            return None
        machine = self.machine
        tests = NamedTests(
            machine.record.value,
            machine.classes,
            machine.program.functions,
            machine.program.classes,
        )
        scope = machine.info.node if machine.info is not None else machine.module.tree
        named = tests.find(machine.module, scope, node)
        if named is None:
            return None
        if named.variables is None:
            return _Place(machine, None, self.depth + 1), named.test
        variables = {}
        for name, given in named.variables.items():
            path = path_of(given)
            known = (given, ()) if self.variables is None else self._stands_for(path or "")
            if known is not None:
                variables[name] = known
        return _Place(machine, variables, self.depth + 1), named.test

    def _stands_for(self, path: str) -> _Stands | None:
        """What a path in the function of the test is called here."""
        root, *attributes = path.split(".")
        base = (self.variables or {}).get(root)
        return (base[0], (*base[1], *attributes)) if base is not None else None


def _narrow(place: _Place, test: ast.expr, truth: bool) -> None:
    match test:
        case ast.UnaryOp(op=ast.Not()):
            _narrow(place, test.operand, not truth)
        case ast.BoolOp():
            if isinstance(test.op, ast.And) == truth:
                for part in test.values:
                    _narrow(place, part, truth)
        case ast.Call(func=func, args=[node, asked]) if _asks_for(place, func, "isinstance"):
            _narrow_class(place, node, asked, truth)
        case ast.Call(func=func, args=[node, asked]) if _asks_for(place, func, "hasattr"):
            _narrow_attribute(place, node, asked, truth)
        case ast.Compare(ops=[ast.Is() | ast.IsNot() as op], comparators=[ast.Constant(None)]):
            if isinstance(op, ast.Is) != truth:
                _drop_none(place, test.left)
        case ast.Compare(ops=[op], comparators=[asked]):
            if isinstance(op, EQUAL | UNEQUAL):
                _narrow_members(place, test.left, asked, isinstance(op, EQUAL) == truth)
        case ast.Name() | ast.Attribute() | ast.Call():
            if truth:
                _drop_none(place, test)
            behind = place.behind(test)
            if behind is not None:
                _narrow(*behind, truth)


def _narrow_members(place: _Place, node: ast.expr, asked: ast.expr, equal: bool) -> None:
    """Keep of a variable the members of FSDP1's enumerations that it can be after a comparison."""
    displays = ast.Tuple | ast.List | ast.Set
    named = [place.value(each) for each in (asked.elts if isinstance(asked, displays) else [asked])]
    if not all(value and all(map(_is_member, value)) for value in named):
        return
    tested = place.tested(node)
    if tested is None:
        return
    path, value = tested
    if equal:
        gone = frozenset(filter(_is_member, value)) - join(*named)
    else:
        gone = join(*(each for each in named if len(each) == 1))
    if gone & value and value - gone:
        place.machine.env[path] = value - gone


def _is_member(atom: Atom) -> bool:
    """Whether an atom is a member of one of FSDP1's enumerations, none of which equals another."""
    return isinstance(atom, Symbol) and atom.name.rpartition(".")[0] in ENUMERATIONS


def _asks_for(place: _Place, func: ast.expr, builtin: str) -> bool:
    return is_symbol(place.machine.record.value(func), f"builtins.{builtin}")


def _drop_none(place: _Place, node: ast.expr) -> None:
    tested = place.tested(node)
    if tested is not None and tested[1] - NONE:
        place.machine.env[tested[0]] = tested[1] - NONE


def narrow_class(machine: Machine, node: ast.expr, classes: ast.expr, truth: bool) -> None:
    """Keep of a variable what is an instance of `classes`, or what isn't."""
    _narrow_class(_Place(machine), node, classes, truth)


def _narrow_class(place: _Place, node: ast.expr, classes: ast.expr, truth: bool) -> None:
    machine, found = place.machine, place.tested(node)
    if found is None:
        return
    path, value = found
    tested = _tested(place, classes)
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


def _tested(place: _Place, classes: ast.expr) -> Value:
    """The classes that `isinstance` is asked about."""
    machine = place.machine
    named = classes.elts if isinstance(classes, ast.Tuple) else [classes]
    tested = join(*(place.value(node) for node in named))
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


def _narrow_attribute(place: _Place, node: ast.expr, name: ast.expr, truth: bool) -> None:
    """`hasattr(model, "no_sync")`: FSDP1 models have its methods, plain modules do not.

    A sharded parameter will have what DTensors have.
    """
    machine, found, attr = place.machine, place.tested(node), constant(place.value(name))
    if found is None or attr is None:
        return
    path, value = found
    if attr.value in OF_DTENSORS and not truth:
        machine.env[path] = value = frozenset(a for a in value if not is_sharded(a))
    if attr.value not in OWN_METHODS:
        return
    machine.env[path] = frozenset(
        atom
        for atom in value
        if has_method(machine.classes, atom, str(attr.value)) in (None, truth)
    )
