"""A table of strategies that becomes the function which constructors call, with its keys."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.born_strategies import StrategyForm
from fsdp_migrate.lowering.born_values import Migrated
from fsdp_migrate.lowering.wraps import plan_wraps
from support.wraps import shown, solved

FULL, NONE = "ShardingStrategy.FULL_SHARD", "ShardingStrategy.NO_SHARD"
CALL = "\n\ndef build(args):\n    return FSDP(Block(), sharding_strategy=KINDS[args.kind])\n"


def _group(text: str) -> Migrated:
    (group,) = plan_wraps(solved(text).solver).born.groups
    assert isinstance(group, Migrated)
    return group


def _rows(text: str) -> tuple[tuple[str | int, str], ...]:
    form = _group(text).form
    assert isinstance(form, StrategyForm)
    return form.rows.rows


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (f"{{'a': {FULL}, 'b': {NONE}}}", [("a", "FULL_SHARD"), ("b", "NO_SHARD")]),
        (f"dict(a={FULL}, b={NONE})", [("a", "FULL_SHARD"), ("b", "NO_SHARD")]),
        (f"{{'a': None, 'b': {NONE}}}", [("a", "FULL_SHARD"), ("b", "NO_SHARD")]),
        (f"{{'a': {NONE}, 'b': {NONE}, 'c': {FULL}}}",
         [("a", "NO_SHARD"), ("b", "NO_SHARD"), ("c", "FULL_SHARD")]),
    ],
)  # fmt: skip
def test_the_keys_become_the_labels(table: str, rows: list[tuple[str, str]]) -> None:
    text = f"KINDS = {table}\n{CALL}"
    assert list(_rows(text)) == rows
    assert len(_group(text).dropped) == 1


@pytest.mark.parametrize(
    ("read", "new"), [("sorted(KINDS)", '["a", "b"]'), ("list(KINDS)", '["b", "a"]')]
)
def test_lists_of_the_keys_are_written_out(read: str, new: str) -> None:
    group = _group(f"KINDS = {{'b': {FULL}, 'a': {NONE}}}\nprint({read})\n{CALL}")
    assert [shown(place.module, part) for place, part in group.replaced] == [new]


@pytest.mark.parametrize(
    "other",
    [
        "print(KINDS.values())",
        "kinds = KINDS",
        "KINDS['c'] = ShardingStrategy.HYBRID_SHARD",
        "print(KINDS['a'] == ShardingStrategy.NO_SHARD)",
        "__all__ = ['KINDS']",
        "print(len(KINDS))",
    ],
)
def test_a_table_that_others_read_stays(other: str) -> None:
    text = f"KINDS = {{'a': {FULL}, 'b': {NONE}}}\n{other}\n{CALL}"
    assert not _group(text).dropped
    assert ("NO_SHARD", "NO_SHARD") in _rows(text)


def test_rows_with_comments_stay() -> None:
    assert not _group(f"KINDS = {{\n    'a': {FULL},  # all\n    'b': {NONE},\n}}\n{CALL}").dropped
    assert _group(f"# all\nKINDS = {{\n    'a': {FULL},\n    'b': {NONE},\n}}\n{CALL}").dropped


def test_rows_without_a_literal_key_stay() -> None:
    assert not _group(f"KINDS = {{os.sep: {FULL}, 'b': {NONE}}}\n{CALL}").dropped
