"""Where FSDP1's values are born, which of them meet, and what is done with them."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest

from fsdp_migrate.lowering.value_flow import ValueFlow
from fsdp_migrate.lowering.value_reads import Act
from support.wraps import solved

TABLE = """\
TABLE = {"full": ShardingStrategy.FULL_SHARD, "none": ShardingStrategy.NO_SHARD}


def shard(args):
    strategy = TABLE[args.kind]
    if strategy == ShardingStrategy.NO_SHARD:
        print("none", strategy.name)
    return FSDP(Block(), sharding_strategy=strategy)
"""


def _flow(text: str, others: Mapping[str, str] | None = None) -> ValueFlow:
    return ValueFlow(solved(text, others).solver)


def _reads(text: str, family: str) -> list[tuple[Act, str]]:
    """The acts on the values of a family, and where they are, in the order of the source."""
    flow = _flow(text)
    found = [read for group in flow.groups(family) for read in flow.reads(group)]
    found.sort(key=lambda read: (read.place.node.lineno, read.place.node.col_offset))
    return [(read.act, ast.unparse(read.place.node)) for read in found]


def test_births_of_a_table() -> None:
    flow = _flow(TABLE)
    (group,) = flow.groups("strategy")
    born = sorted(ast.unparse(place.node) for place in flow.births(group))
    full, none = "ShardingStrategy.FULL_SHARD", "ShardingStrategy.NO_SHARD"
    assert born == [full, none, none]


def test_reads_of_a_table() -> None:
    none = "ShardingStrategy.NO_SHARD"
    assert _reads(TABLE, "strategy") == [
        (Act.COMPARED, "strategy"),
        (Act.COMPARED, none),
        (Act.FIELD, "strategy"),
        (Act.GIVEN, "strategy"),
    ]


def test_values_that_never_meet_are_groups_of_their_own() -> None:
    flow = _flow(
        "one = FSDP(Block(), mixed_precision=MixedPrecision(torch.bfloat16))\n"
        "two = FSDP(Block(), mixed_precision=MixedPrecision(torch.float16))\n"
    )
    assert len(flow.groups("precision")) == 2


def test_values_that_meet_in_a_variable_are_one_group() -> None:
    flow = _flow(
        "import sys\n"
        "precision = MixedPrecision(torch.bfloat16)\n"
        "if sys.argv[1:]:\n"
        "    precision = MixedPrecision(torch.float16)\n"
        "model = FSDP(Block(), mixed_precision=precision)\n"
    )
    (group,) = flow.groups("precision")
    assert len(group) == 2


@pytest.mark.parametrize(
    ("statement", "act"),
    [
        ("print(x)", Act.PRINTED),
        ("print(f'{x}')", Act.PRINTED),
        ("'%s' % x", Act.PRINTED),
        ("str(x)", Act.PRINTED),
        ("isinstance(x, CPUOffload)", Act.CHECKED),
        ("x is None", Act.COMPARED),
        ("x or 1", Act.TESTED),
        ("1 if x else 2", Act.TESTED),
        ("x.offload_params", Act.FIELD),
        ("{x: 1}", Act.KEYED),
        ("{}[x]", Act.KEYED),
        ("{}.get(x)", Act.KEYED),
        ("os.putenv(x, 'a')", Act.UNKNOWN),
        ("os.environ.update(a=x)", Act.UNKNOWN),
        ("FSDP(Block(), cpu_offload=x)", Act.GIVEN),
        ("x + 1", Act.UNKNOWN),
    ],
)
def test_what_is_done_with_a_value(statement: str, act: Act) -> None:
    reads = _reads(f"x = CPUOffload(True)\n{statement}\n", "offload")
    assert (act, "x") in reads
    assert all(what is act for what, node in reads if node == "x")


@pytest.mark.parametrize(
    "statement",
    ["y = x", "y = [x, x]", "y = dict(a=x)", "def f(a=x):\n    return a", "y = lambda: x",
     "f = lambda a: a\nf(x)", "y = {}\ny.update(a=x)", "y = 1 if os.sep else x"],
)  # fmt: skip
def test_a_value_that_only_moves_on(statement: str) -> None:
    assert _reads(f"x = CPUOffload(True)\n{statement}\n", "offload") == []


def test_what_takes_a_container_takes_the_value_in_it() -> None:
    text = "import json\nkw = dict(cpu_offload=CPUOffload(True))\njson.dumps(kw)\n"
    assert _reads(text, "offload") == [(Act.SEEN, "kw")]
    spread = "kw = dict(cpu_offload=CPUOffload(True))\nmodel = FSDP(Block(), **kw)\n"
    assert _reads(spread, "offload") == []


def test_the_keys_of_a_table_are_not_its_values() -> None:
    text = TABLE + "import json\njson.dumps(sorted(TABLE))\n"
    assert all(act is not Act.UNKNOWN for act, _ in _reads(text, "strategy"))


@pytest.mark.parametrize(
    ("call", "act"),
    [("wandb.init(config=kw)", Act.SEEN), ("accelerate.load(kw)", Act.UNKNOWN),
     ("print(kw)", Act.PRINTED), ("len(kw)", None), ("f(kw)", None)],
)  # fmt: skip
def test_a_container_that_goes_elsewhere(call: str, act: Act | None) -> None:
    text = "import accelerate, wandb\n\n\ndef f(x):\n    return x\n\n\n"
    reads = _reads(f"{text}kw = dict(cpu_offload=CPUOffload(True))\n{call}\n", "offload")
    assert reads == ([(act, "kw")] if act is not None else [])


@pytest.mark.parametrize(
    ("made", "act"),
    [("functools.partial(shard, model)", None), ("functools.partial(other, model)", Act.UNKNOWN)],
)
def test_a_partial_of_a_function_hands_on(made: str, act: Act | None) -> None:
    text = (
        "def shard(model, strategy):\n    return FSDP(model, sharding_strategy=strategy)\n"
        f"def build(model, other):\n    fn = {made}\n"
        "    return fn(strategy=ShardingStrategy.FULL_SHARD)\n"
    )
    acts = [act for act, what in _reads("import functools\n" + text, "strategy") if "." in what]
    assert acts == ([act] if act is not None else [])
