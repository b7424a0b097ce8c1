"""Sharding strategies that are migrated where they are born, and why some are not."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest

from fsdp_migrate.lowering.born_strategies import StrategyForm
from fsdp_migrate.lowering.born_values import Decided, Migrated, Stays
from fsdp_migrate.lowering.sharding_function import HYBRID, MEMBERS
from fsdp_migrate.lowering.wraps import plan_wraps
from support.wraps import shown, solved

CALL = "\n\ndef build(args):\n    return FSDP(Block(), sharding_strategy=%s)\n"
TABLE = (
    'TABLE = {"a": ShardingStrategy.FULL_SHARD, "b": ShardingStrategy.HYBRID_SHARD}\n'
    + CALL % "TABLE[args.kind]"
)


def _decided(text: str, others: Mapping[str, str] | None = None) -> Decided | None:
    groups = plan_wraps(solved(text, others).solver).born.groups
    assert len(groups) < 2
    return groups[0] if groups else None


def _becomes(text: str, others: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """The places that change, in the order of the source, and what they become."""
    group = _decided(text, others)
    assert isinstance(group, Migrated), group
    found = sorted(group.replaced, key=lambda new: (new[0].module.name, new[0].node.lineno))
    return [(ast.unparse(p.node), shown(p.module, part)) for p, part in found]


def _words(text: str) -> str:
    group = _decided(text)
    assert isinstance(group, Stays), group
    return group.words


def test_a_member_becomes_its_name() -> None:
    assert sorted(_becomes(TABLE + "print(TABLE.values())\n")) == [
        ("ShardingStrategy.FULL_SHARD", '"FULL_SHARD"'),
        ("ShardingStrategy.HYBRID_SHARD", '"HYBRID_SHARD"'),
    ]


def test_only_constructors_and_no_mesh() -> None:
    text = TABLE.replace("HYBRID_SHARD", "SHARD_GRAD_OP")
    assert sorted(new for _, new in _becomes(text)) == ["False", "None"]


@pytest.mark.parametrize(
    ("made", "label"),
    [
        ("ShardingStrategy[args.kind]", "args.kind"),
        ("getattr(ShardingStrategy, args.kind)", "args.kind"),
        ("ShardingStrategy.__members__[args.kind]", "args.kind"),
        ('ShardingStrategy["HYBRID_SHARD"]', '"HYBRID_SHARD"'),
        ('getattr(ShardingStrategy, "HYBRID_SHARD")', '"HYBRID_SHARD"'),
        ("ShardingStrategy(3)", '"NO_SHARD"'),
    ],
)
def test_what_a_name_says(made: str, label: str) -> None:
    assert _becomes(CALL % made) == [(ast.unparse(ast.parse(made).body[0]), label)]


def test_rows_that_can_occur() -> None:
    group = _decided(TABLE)
    assert isinstance(group, Migrated)
    assert isinstance(group.form, StrategyForm)
    assert group.form.rows.members == {"FULL_SHARD", "HYBRID_SHARD"}


@pytest.mark.parametrize(
    ("statement", "place", "new"),
    [
        ("print(x.name)", "x.name", "x"),
        ("x is ShardingStrategy.NO_SHARD", "x is ShardingStrategy.NO_SHARD",
         "x == ShardingStrategy.NO_SHARD"),
        ("isinstance(x, ShardingStrategy)", "ShardingStrategy", "str"),
    ],
)  # fmt: skip
def test_readers_that_change(statement: str, place: str, new: str) -> None:
    text = f"def build(args):\n    x = ShardingStrategy[args.kind]\n    {statement}\n"
    made = _becomes(text + "    return FSDP(Block(), sharding_strategy=x)\n")
    assert (place, new) in made


def test_a_test_for_a_name() -> None:
    text = "def build(args):\n    assert args.kind in ShardingStrategy.__members__\n"
    made = dict(
        _becomes(text + "    return FSDP(Block(), sharding_strategy=ShardingStrategy[args.kind])\n")
    )
    assert '"FULL_SHARD", "SHARD_GRAD_OP"' in made["ShardingStrategy.__members__"]


@pytest.mark.parametrize(
    "statement",
    ["print(x)", "x == ShardingStrategy.NO_SHARD", "x is None", "x or 1", "{x: 1}[x]",
     "x in (ShardingStrategy.NO_SHARD, ShardingStrategy.HYBRID_SHARD)", "y = [x]"],
)  # fmt: skip
def test_readers_that_stay(statement: str) -> None:
    text = f"def build(args):\n    x = ShardingStrategy[args.kind]\n    {statement}\n"
    made = _becomes(text + "    return FSDP(Block(), sharding_strategy=x)\n")
    assert all(place.startswith("ShardingStrategy") for place, _ in made)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("os.putenv('a', x)", "it is given to `os.putenv`"),
        ("x.value", "`x.value`"),
        ("x == args.other", "it is compared with `args.other`"),
        ("args.table[x]", "it is looked up in what isn't known"),
        ("len(ShardingStrategy)", "reads the class itself"),
        ("print(ShardingStrategy.__doc__)", "reads the class itself"),
    ],
)
def test_what_no_label_can_do(statement: str, words: str) -> None:
    text = f"def build(args):\n    x = ShardingStrategy[args.kind]\n    {statement}\n"
    assert words in _words(text + "    return FSDP(Block(), sharding_strategy=x)\n")


def test_a_constructor_that_has_no_plain_form() -> None:
    text = TABLE + "\n\nFSDP(Block(), sharding_strategy=TABLE['a'], **dict(os.environ))\n"
    assert "as it is" in _words(text)


def test_an_annotated_field_is_open() -> None:
    config = (
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Config:\n"
        "    kind: ShardingStrategy = ShardingStrategy.FULL_SHARD\n"
    )
    text = "from config import Config\n" + CALL % "Config().kind"
    group = _decided(text, {"config.py": "from torch.distributed.fsdp import *\n" + config})
    assert isinstance(group, Migrated)
    assert isinstance(group.form, StrategyForm)
    assert group.form.rows.members == {*MEMBERS} - HYBRID  # FSDP1 wants a policy for those
    assert {shown(p.module, part) for p, part in group.replaced} == {"str", '"FULL_SHARD"'}
