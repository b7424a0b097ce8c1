"""How a value holds parameters: as itself, in a list, as a key or under one, somewhere inside.

Only what keeps the objects counts, or their `id`: a copy of the numbers, a name or a shape is the
same whichever objects the parameters are.  Each parameter says by which path its model is known
where the value is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

DEPTH = 5  # deeper than this a value holds its parameters somehow


@dataclass(frozen=True)
class Parameter:
    """A parameter itself, or its `id`, out of the models at these paths."""

    owners: frozenset[str]
    is_id: bool = False


@dataclass(frozen=True)
class Items:
    """A list, a set or an iterator over what holds parameters."""

    item: Held


@dataclass(frozen=True)
class Entries:
    """A dict with parameters among its keys or its values."""

    key: Held | None
    value: Held | None


@dataclass(frozen=True)
class Row:
    """A tuple, each of whose items may hold parameters or not."""

    items: tuple[Held | None, ...]


@dataclass(frozen=True)
class Somehow:
    """An object that keeps parameters in a way that isn't followed."""

    owners: frozenset[str]


Held = Parameter | Items | Entries | Row | Somehow


def owners(held: Held | None) -> frozenset[str]:
    """The paths of the models whose parameters `held` holds."""
    match held:
        case Parameter(owners=found) | Somehow(owners=found):
            return found
        case Items(item=item):
            return owners(item)
        case Entries(key=key, value=value):
            return owners(key) | owners(value)
        case Row(items=items):
            return frozenset().union(*map(owners, items))
    return frozenset()


def renamed(held: Held | None, rename: Callable[[str], str | None]) -> Held | None:
    """`held` with other paths for its models; without those that have none any more."""
    match held:
        case Parameter(owners=found, is_id=is_id):
            return Parameter(_paths(found, rename), is_id)
        case Somehow(owners=found):
            return Somehow(_paths(found, rename))
        case Items(item=item):
            inner = renamed(item, rename)
            return Items(inner) if inner is not None else None
        case Entries(key=key, value=value):
            return Entries(renamed(key, rename), renamed(value, rename))
        case Row(items=items):
            return Row(tuple(renamed(item, rename) for item in items))
    return None


def _paths(found: Iterable[str], rename: Callable[[str], str | None]) -> frozenset[str]:
    return frozenset(path for path in map(rename, found) if path is not None)


def joined(*several: Held | None) -> Held | None:
    """What is held by a value that can be any of these."""
    found: Held | None = None
    for held in several:
        found = _either(found, held)
    return _shallow(found, DEPTH)


def _either(one: Held | None, other: Held | None) -> Held | None:
    if one is None or other is None or one == other:
        return one if other is None else other
    match one, other:
        case Parameter(), Parameter():
            return Parameter(one.owners | other.owners, one.is_id or other.is_id)
        case Entries(), Entries():
            return Entries(_either(one.key, other.key), _either(one.value, other.value))
        case Row(), Row() if len(one.items) == len(other.items):
            return Row(tuple(map(_either, one.items, other.items)))
        case ((Items() | Row()), (Items() | Row())):
            item = _either(item_of(one), item_of(other))
            return Items(item) if item is not None else None
    return Somehow(owners(one) | owners(other))


def _shallow(held: Held | None, depth: int) -> Held | None:
    if held is None or isinstance(held, Parameter | Somehow):
        return held
    if depth == 0:
        return Somehow(owners(held))
    match held:
        case Items(item=item):
            inner = _shallow(item, depth - 1)
            return Items(inner) if inner is not None else None
        case Entries(key=key, value=value):
            return Entries(_shallow(key, depth - 1), _shallow(value, depth - 1))
        case Row(items=items):
            return Row(tuple(_shallow(item, depth - 1) for item in items))
    return held


def many(item: Held | None) -> Held | None:
    """A list of `item`s."""
    return Items(item) if item is not None else None


def row(items: Iterable[Held | None]) -> Held | None:
    """A tuple of these."""
    found = tuple(items)
    return Row(found) if any(item is not None for item in found) else None


def entries(key: Held | None, value: Held | None) -> Held | None:
    """A dict of such keys and values."""
    return Entries(key, value) if key is not None or value is not None else None


def item_of(held: Held | None) -> Held | None:
    """What iterating over `held` gives."""
    match held:
        case Items(item=item):
            return item
        case Entries(key=key):
            return key
        case Row(items=items):
            return joined(*items)
        case Somehow():
            return held
    return None


def entry_of(held: Held | None, index: object = None) -> Held | None:
    """What a subscript of `held` gives; `index` is the literal in it, if there is one."""
    match held:
        case Entries(value=value):
            return value
        case Row(items=items) if isinstance(index, int) and -len(items) <= index < len(items):
            return items[index]
    return item_of(held)


def pair_of(held: Held | None) -> tuple[Held | None, Held | None]:
    """The keys and values of the dict that is made of `held`."""
    match held:
        case Entries(key=key, value=value):
            return key, value
        case Items(item=Row(items=(key, value))):
            return key, value
    inside = item_of(held)
    return inside, inside
