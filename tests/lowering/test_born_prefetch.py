"""Ways to prefetch become plain names, for nothing takes them any more."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.born_values import Decided, Migrated, Stays
from fsdp_migrate.lowering.wraps import plan_wraps
from support.wraps import shown, solved

PRE = "BackwardPrefetch.BACKWARD_PRE"


def _decided(text: str) -> list[Decided]:
    return list(plan_wraps(solved(text).solver).born.groups)


def _becomes(text: str) -> set[tuple[str, str]]:
    (group,) = _decided(text)
    assert isinstance(group, Migrated), group
    return {(ast.unparse(p.node), shown(p.module, part)) for p, part in group.replaced}


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ("BackwardPrefetch[args.way]", {("BackwardPrefetch[args.way]", "args.way")}),
        (f"{PRE} if args.way else None", {(PRE, '"BACKWARD_PRE"')}),
        (f"{{'pre': {PRE}}}[args.way]", {(PRE, '"BACKWARD_PRE"')}),
    ],
)
def test_a_variable(value: str, places: set[tuple[str, str]]) -> None:
    text = f"def build(args):\n    way = {value}\n    return FSDP(Block(), backward_prefetch=way)\n"
    assert _becomes(text) == places


def test_what_is_written_at_the_call_goes_with_it() -> None:
    assert _decided(f"FSDP(Block(), backward_prefetch={PRE})\n") == []


@pytest.mark.parametrize(
    ("annotation", "new"),
    [
        ("BackwardPrefetch", ("BackwardPrefetch", "str")),
        ("'BackwardPrefetch'", ("'BackwardPrefetch'", "str")),
        ("'list[BackwardPrefetch]'", ("'list[BackwardPrefetch]'", "Quoted")),
    ],
)
def test_annotations(annotation: str, new: tuple[str, str]) -> None:
    text = (
        f"def build(way: {annotation} = {PRE}):\n    return FSDP(Block(), backward_prefetch=way)\n"
    )
    found = {(place, part.partition("(")[0]) for place, part in _becomes(text)}
    assert found == {new, (PRE, '"BACKWARD_PRE"')}


def test_a_reader_that_is_not_followed() -> None:
    (group,) = _decided(f"way = {PRE}\nos.putenv('a', way)\nFSDP(Block(), backward_prefetch=way)\n")
    assert isinstance(group, Stays)
    assert "os.putenv" in group.words


def test_a_name_that_is_looked_up_where_it_stands_stays() -> None:
    text = (
        'way = {"a": "BACKWARD_PRE"}\nif "a" in way:\n'
        '    way["a"] = BackwardPrefetch[way["a"]]\nFSDP(Block(), backward_prefetch=way["a"])\n'
    )
    (group,) = _decided(text)
    assert isinstance(group, Migrated), group
    assert [ast.unparse(s).splitlines()[0] for _, s in group.dropped] == ["if 'a' in way:"]


def test_what_no_constructor_takes_is_a_name_too() -> None:
    text = f'settings = {{"way": {PRE}}}\nFSDP(Block())\n'
    assert _becomes(text) == {(PRE, '"BACKWARD_PRE"')}
