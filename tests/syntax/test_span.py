"""Places in the source."""

from __future__ import annotations

import ast

from fsdp_migrate.syntax.span import Site, Span, steady_hash


def test_a_range_contains_another() -> None:
    outer = Span(1, 4, 3, 0)
    assert outer.contains(outer)
    assert outer.contains(Span(2, 0, 2, 80))
    assert not outer.contains(Span(1, 3, 2, 0))
    assert not outer.contains(Span(2, 0, 3, 1))


def test_the_place_of_a_node() -> None:
    node = ast.parse("x = (1 +\n  2)").body[0]
    assert Site.of("train", node) == Site("train", 1, 0, 2, 4)
    assert Site.of("train", ast.Module([], [])) == Site("train", 0, 0, 0, 0)


def test_places_are_ordered_as_in_the_source() -> None:
    sites = [Site("b", 1, 0, 1, 1), Site("a", 10, 0, 10, 1), Site("a", 9, 4, 9, 5)]
    assert sorted(sites) == [sites[2], sites[1], sites[0]]


def test_equal_places_hash_alike_and_hashing_changes_nothing() -> None:
    one, other = Site("a", 1, 0, 1, 5), Site("a", 1, 0, 1, 5)
    hash(one)
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)


def test_hashes_of_text_do_not_depend_on_the_process() -> None:
    assert steady_hash("train") == 1550247075
    assert isinstance(steady_hash("\udcff"), int)
