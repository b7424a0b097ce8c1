"""Questions about what an expression can be; who asks need not know what values are made of."""

from __future__ import annotations

import sys

from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Const,
    Method,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
)

KNOWN_LIBRARIES = frozenset({"builtins", "fsdp_migrate", "torch", *sys.stdlib_module_names})


def library_name(value: Value) -> str | None:
    """The one thing of a library that `value` is, None aside (where an import was guarded)."""
    names = {atom.name for atom in value - NONE if isinstance(atom, Symbol)}
    return names.pop() if len(names) == len(value - NONE) == 1 else None


def results(value: Value) -> frozenset[str] | None:
    """The functions or classes of libraries that `value` comes from, or None if not only those."""
    names = {atom.symbol for atom in value if isinstance(atom, Result)}
    return frozenset(names) if value and all(isinstance(a, Result) for a in value) else None


def may_come_from(value: Value, names: frozenset[str]) -> bool:
    """Whether `value` can be made by one of the functions or classes of libraries in `names`."""
    return any(isinstance(atom, Result) and atom.symbol in names for atom in value)


def from_elsewhere(value: Value) -> bool:
    """Whether `value` can be made by what nothing is known of: another library, or code unseen."""
    return any(isinstance(_origin(atom), Unknown) for atom in value) or from_library(value)


def _origin(atom: Atom) -> Atom:
    """What a method is taken from."""
    while isinstance(atom, Method):
        atom = atom.receiver
    return atom


def from_library(value: Value) -> bool:
    """Whether `value` can be made by a library other than PyTorch and Python's own."""
    for atom in map(_origin, value):
        if isinstance(atom, Result | Symbol):
            name = atom.symbol if isinstance(atom, Result) else atom.name
            if name.partition(".")[0] not in KNOWN_LIBRARIES:
                return True
    return False


def models(value: Value) -> frozenset[Wrapped]:
    """The FSDP1 models that `value` can be."""
    return frozenset(atom for atom in value if isinstance(atom, Wrapped))


def is_none(value: Value) -> bool:
    """Whether `value` is None, and nothing else."""
    return value == NONE


def literals(value: Value) -> list[object] | None:
    """The literals that `value` can be, or None if it can be something else."""
    found: list[object] = [atom.value for atom in value if isinstance(atom, Const)]
    return found if value and len(found) == len(value) else None


def may_be(value: Value, literal: bool | int | str | None) -> bool:
    """Whether a literal is among what `value` can be."""
    return Const.of(literal) in value


def is_one_of(value: Value, symbol: str) -> bool:
    """Whether a value can be the library's `symbol`, and can be something else, None aside."""
    return Symbol(symbol) in value and len(value - NONE) > 1
