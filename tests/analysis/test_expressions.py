"""What operators, calls and generators give."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.values import (
    Const,
    Result,
    Value,
    constants,
    unknown,
)
from support.values import FULL, ZERO2, analyse, check_model, probed, reasons, wraps

# Programs in which `probe` is an FSDP model.
MODELS = {
    "walrus": "if (probe := FSDP(Net())) is not None:\n    probe",
    "conditional expression": "probe = FSDP(Net()) if torch.cuda.is_available() else Net()\nprobe",
    "or": "probe = None or FSDP(Net())\nprobe",
    "star arguments": """
        def train(probe, lr):
            return probe
        arguments = (FSDP(Net()), 0.1)
        train(*arguments)
        """,
    "double star arguments": """
        def train(probe, lr):
            return probe
        arguments = dict(probe=FSDP(Net()), lr=0.1)
        train(**arguments)
        """,
    "generator": """
        def models():
            yield FSDP(Net())
        for probe in models():
            probe
        """,
    "async": """
        async def build():
            return FSDP(Net())
        async def main():
            probe = await build()
            return probe
        """,
    "lambda": "build = lambda m: FSDP(m)\nprobe = build(Net())\nprobe",
}

# Programs in which `probe` is one of two strategies, and what it can be.
STRATEGIES: dict[str, tuple[str, Value]] = {
    "condition": (
        "probe = ShardingStrategy.FULL_SHARD if input() else ShardingStrategy.SHARD_GRAD_OP\nprobe",
        frozenset({FULL, ZERO2}),
    ),
    "dict look-up": (
        "M = {'a': ShardingStrategy.FULL_SHARD, 'b': ShardingStrategy.SHARD_GRAD_OP}\n"
        "probe = M['b']\nprobe",
        frozenset({ZERO2}),
    ),
    "dict look-up by what isn't known": (
        "M = {'a': ShardingStrategy.FULL_SHARD, 'b': ShardingStrategy.SHARD_GRAD_OP}\n"
        "probe = M[input()]\nprobe",
        frozenset({FULL, ZERO2}),
    ),
    "dict union": (
        "A = {'s': ShardingStrategy.FULL_SHARD}\nB = A | {'t': 1}\nprobe = B['s']\nprobe",
        frozenset({FULL}),
    ),
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


@pytest.mark.parametrize("shape", STRATEGIES)
def test_a_strategy_gets_there(shape: str) -> None:
    text, expected = STRATEGIES[shape]
    assert probed(text) == expected


def test_ddp_else() -> None:
    analysis = analyse(
        """
        def prepare(m, kind):
            if kind == "fsdp":
                return FSDP(m)
            elif kind == "ddp":
                return DDP(m)
            return m
        probe = prepare(Net(), "fsdp")
        probe
        """
    )
    symbols = {atom.symbol for atom in analysis.value("probe") if isinstance(atom, Result)}
    assert wraps(analysis)
    assert symbols == {"torch.nn.parallel.DistributedDataParallel"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("probe = 3", frozenset({Const.of(3)})),
        ("probe = None or 'a'", frozenset({Const.of("a")})),
        ("probe = 1 if input() else 2", frozenset({Const.of(1), Const.of(2)})),
        ("probe = (x := 'a')", frozenset({Const.of("a")})),
    ],
)
def test_literals(text: str, expected: Value) -> None:
    assert probed(f"{text}\nprobe") == expected


@pytest.mark.parametrize("text", ["1 + 1", "not x", "-x", "f'{x}'", "x < 3", "..."])
def test_what_is_computed_has_a_reason(text: str) -> None:
    assert probed(f"x = input()\nprobe = {text}\nprobe") == unknown("computed")


def test_a_sum_of_lists_holds_the_items_of_both() -> None:
    check_model("models = [FSDP(Net())] + [FSDP(Net())]\nfor probe in models:\n    probe")


def test_calls_are_noted_with_what_they_are_given() -> None:
    analysis = analyse("def f(*args, **kwargs): ...\nf(1, *(2, 3), a=4, **{'b': 5})")
    site, call = next(
        (site, call)
        for site, call in analysis.solver.call_nodes.items()
        if ast.unparse(call.func) == "f"
    )
    args, kwargs = analysis.solver.calls[site]
    assert [constants(value) for value in args] == [[1], [2], [3]]
    assert {name: constants(value) for name, value in kwargs.items()} == {"a": [4], "b": [5]}
    assert analysis.solver.modes_at(call) == {None}


def test_keyword_arguments_of_an_unknown_dict() -> None:
    analysis = analyse("def f(probe=1):\n    probe\nf(**input())")
    assert reasons(analysis.value("probe"))
