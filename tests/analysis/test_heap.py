"""The heap: joined values, and tasks that run again when what they have read grows."""

from __future__ import annotations

from fsdp_migrate.analysis.heap import ANY, MAX_GROWTH, GrowingHeap, Task
from fsdp_migrate.analysis.values import NOTHING, TOO_MANY, Const, Container, Symbol
from fsdp_migrate.syntax.span import Site

ONE, TWO = frozenset({Const.of(1)}), frozenset({Const.of(2)})
SITE = Site("/project/train", 1, 0, 1, 5)
READER, OTHER = Task("reader"), Task("other")


def heap() -> tuple[GrowingHeap, list[Task]]:
    woken: list[Task] = []
    return GrowingHeap(woken.append), woken


def test_what_is_written_is_joined() -> None:
    grown, _ = heap()
    assert grown.read("name", "m", "x") == NOTHING
    assert grown.write(ONE, "name", "m", "x")
    assert grown.write(TWO, "name", "m", "x")
    assert grown.read("name", "m", "x") == ONE | TWO
    assert not grown.write(ONE, "name", "m", "x")


def test_readers_are_woken_when_a_place_grows_in_the_order_of_their_reading() -> None:
    grown, woken = heap()
    for task in (READER, OTHER):
        grown.reader = task
        grown.read("name", "m", "x")
    grown.write(ONE, "name", "m", "x")
    assert woken == [READER, OTHER]
    grown.write(ONE, "name", "m", "x")
    grown.write(ONE, "name", "m", "y")
    assert woken == [READER, OTHER]


def test_who_asks_for_the_keys_is_woken_by_a_new_one() -> None:
    grown, woken = heap()
    grown.reader = READER
    assert list(grown.item_keys(SITE)) == []
    grown.reader = None
    grown.write(ONE, "item", SITE, "a")
    assert woken == [READER]
    grown.write(TWO, "item", SITE, "a")
    assert woken == [READER]


def test_keys_keep_the_order_in_which_they_came() -> None:
    grown, _ = heap()
    for key in ("b", "a", 3, ANY, "a"):
        grown.write(ONE, "item", SITE, key)
    assert list(grown.item_keys(SITE)) == ["b", "a", 3, ANY]


def test_all_that_a_container_holds() -> None:
    grown, _ = heap()
    grown.write(ONE, "item", SITE, "a")
    grown.write(TWO, "item", SITE, ANY)
    assert grown.dict_values(Container(SITE, "dict")) == ONE | TWO


def test_a_place_that_never_rests_is_given_up() -> None:
    grown, _ = heap()
    for index in range(MAX_GROWTH + 1):
        grown.write(frozenset({Symbol(str(index))}), "name", "m", "x")
    assert grown.read("name", "m", "x") == {TOO_MANY}
    assert not grown.write(frozenset({Symbol("one more")}), "name", "m", "x")


def test_at_rest_it_is_only_read() -> None:
    grown, woken = heap()
    grown.write(ONE, "item", SITE, "a")
    rest = grown.at_rest()
    assert not hasattr(rest, "write")
    assert rest.holds("item", SITE, "a")
    assert dict(rest.items()) == {("item", SITE, "a"): ONE}
    assert list(rest.item_keys(SITE)) == ["a"]
    assert woken == []
