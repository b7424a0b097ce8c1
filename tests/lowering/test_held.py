"""How values that hold parameters are taken apart and put together."""

from __future__ import annotations

from fsdp_migrate.lowering.held import (
    Entries,
    Items,
    Parameter,
    Row,
    Somehow,
    entries,
    entry_of,
    item_of,
    joined,
    many,
    owners,
    pair_of,
    renamed,
    row,
)

NET = Parameter(frozenset({"net"}))
OTHER = Parameter(frozenset({"other"}))
BOTH = Parameter(frozenset({"net", "other"}))


def test_joining() -> None:
    assert joined(None, NET) == NET
    assert joined(NET, OTHER) == BOTH
    assert joined(Items(NET), Row((None, OTHER))) == Items(BOTH)
    assert joined(Entries(None, NET), Entries(OTHER, None)) == Entries(OTHER, NET)
    assert joined(NET, Items(OTHER)) == Somehow(BOTH.owners)


def test_what_is_too_deep_is_held_somehow() -> None:
    deep = NET
    for _ in range(9):
        deep = Items(deep)  # type: ignore[assignment]
    held = joined(deep)
    while isinstance(held, Items):
        held = held.item
    assert held == Somehow(NET.owners)


def test_taking_apart() -> None:
    assert item_of(Items(NET)) == NET
    assert item_of(NET) is None
    assert item_of(Entries(NET, None)) == NET
    assert entry_of(Entries(None, NET), "weight") == NET
    assert entry_of(Row((None, NET)), 1) == NET
    assert entry_of(Row((None, NET)), 0) is None
    assert pair_of(Items(Row((None, NET)))) == (None, NET)


def test_nothing_holds_nothing() -> None:
    assert many(None) is None
    assert row([None, None]) is None
    assert entries(None, None) is None
    assert owners(None) == frozenset()


def test_other_names() -> None:
    assert renamed(Items(NET), lambda path: f"self.{path}") == Items(
        Parameter(frozenset({"self.net"}))
    )
    assert renamed(NET, lambda path: None) == Parameter(frozenset())
