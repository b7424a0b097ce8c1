"""Immutable objects of which equal ones are made once, and hashed once.

The analysis makes the same few thousand atoms and tasks some hundred thousand times, and looks
for them in sets and dictionaries.  `forget` empties the tables between two projects; objects
from before are still equal to those from after.
"""

from __future__ import annotations

from typing import Any, ClassVar

from fsdp_migrate.syntax.span import steady_hash


class Interning(type):
    """The type of the classes whose equal objects are one."""

    tables: ClassVar[list[dict[tuple[object, ...], object]]] = []

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, object]) -> None:
        super().__init__(name, bases, namespace)
        cls.table: dict[tuple[object, ...], object] = {}
        Interning.tables.append(cls.table)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """The object with these fields."""
        known = None if kwargs else cls.table.get(args)
        if known is None:
            made = super().__call__(*args, **kwargs)
            given = fields_of(made)
            steady = hash((steady_hash(cls.__name__), *map(_steady, given)))
            object.__setattr__(made, "_hash", steady)
            known = cls.table.setdefault(tuple(given), made)
            if not kwargs:
                cls.table[args] = known
        return known


class Interned(metaclass=Interning):
    """What a class of such objects derives from; it has to say `__hash__ = Interned.__hash__`."""

    _hash: int

    def __hash__(self) -> int:
        """The same in every process: sets are then walked in one order in every run."""
        return self._hash


def forget() -> None:
    """Let go of the objects that were made so far."""
    for table in Interning.tables:
        table.clear()


def fields_of(made: object) -> list[object]:
    """The values of the fields of an object."""
    return [value for name, value in vars(made).items() if not name.startswith("_")]


def _steady(field: object) -> int:
    if isinstance(field, str):
        return steady_hash(field)
    if isinstance(field, bytes):
        return steady_hash(field.hex())
    return 0 if field is None else hash(field)
