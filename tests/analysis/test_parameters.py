"""What parameters are: passed, by default, as annotated, or unknown."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import (
    Const,
    Instance,
    Value,
)
from support.values import FULL, ZERO2, check_model, probed, reasons

# Programs in which `probe` is an FSDP model.
MODELS = {
    "annotation": "def f(probe: FSDP):\n    probe",
    "optional annotation": "def f(probe: Optional[FSDP] = None):\n    if probe:\n        probe",
    "union annotation": "def f(probe: 'FSDP | None' = None):\n    if probe:\n        probe",
}

# Programs in which `probe` is one of two strategies, and what it can be.
STRATEGIES: dict[str, tuple[str, Value]] = {
    "parameter with default": (
        """
        def f(strategy=ShardingStrategy.FULL_SHARD):
            probe = strategy
            return probe
        f()
        """,
        frozenset({FULL}),
    ),
    "parameter with default and argument": (
        """
        def f(strategy=ShardingStrategy.FULL_SHARD):
            probe = strategy
            return probe
        f()
        f(ShardingStrategy.SHARD_GRAD_OP)
        """,
        frozenset({FULL, ZERO2}),
    ),
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


@pytest.mark.parametrize("shape", STRATEGIES)
def test_a_strategy_gets_there(shape: str) -> None:
    text, expected = STRATEGIES[shape]
    assert probed(text) == expected


def test_an_annotation_stands_in_for_what_nothing_passes() -> None:
    value = probed("def f(probe: Net):\n    probe")
    assert {type(atom) for atom in value} == {Instance}


def test_what_is_passed_counts_for_more_than_the_annotation() -> None:
    value = probed("def f(probe: Net):\n    probe\nf(3)")
    assert value == {Const.of(3)}


def test_a_parameter_that_nothing_passes_says_so() -> None:
    (reason,) = reasons(probed("def f(x):\n    probe = x\n    probe"))
    assert "nothing here passes" in reason


def test_a_parameter_that_a_call_leaves_out_is_its_default() -> None:
    assert probed("def f(x, probe=2):\n    probe\nf(1)") == {Const.of(2)}
    assert probed("def f(x, *, probe=2):\n    probe\nf(1)") == {Const.of(2)}


def test_a_default_and_a_call_that_may_pass_anything() -> None:
    value = probed("def f(x=1, probe=2):\n    probe\nf(**input())")
    assert Const.of(2) in value
    assert reasons(value)


def test_annotations_that_are_no_classes_say_nothing() -> None:
    for annotation in ("'list['", "list[int]", "3", "'nobody'"):
        assert reasons(probed(f"def f(probe: {annotation}):\n    probe"))
