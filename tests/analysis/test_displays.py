"""Lists, tuples, sets, dicts and comprehensions."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import (
    Const,
    Value,
    Wrapped,
)
from support.programs import Analysis
from support.values import FULL, analyse, check_model, probed

# Programs in which `probe` is an FSDP model.
MODELS = {
    "list": "models = [FSDP(Net()), FSDP(Net())]\nprobe = models[0]\nprobe",
    "comprehension": "found = [probe for probe in [FSDP(Net())]]",
    "dict": "models = {'a': FSDP(Net())}\nprobe = models['a']\nprobe",
    "dict comprehension": "models = {k: FSDP(Net()) for k in 'ab'}\nprobe = models['a']\nprobe",
}

# Programs in which `probe` is one of two strategies, and what it can be.
STRATEGIES: dict[str, tuple[str, Value]] = {
    "dict merge": (
        "A = {'s': ShardingStrategy.FULL_SHARD}\nB = {**A, 't': 1}\nprobe = B['s']\nprobe",
        frozenset({FULL}),
    ),
    "nested dict": (
        "C = {'fsdp': {'s': ShardingStrategy.FULL_SHARD}}\nprobe = C['fsdp']['s']\nprobe",
        frozenset({FULL}),
    ),
    "literal": ("probe = ShardingStrategy.FULL_SHARD\nprobe", frozenset({FULL})),
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


@pytest.mark.parametrize("shape", STRATEGIES)
def test_a_strategy_gets_there(shape: str) -> None:
    text, expected = STRATEGIES[shape]
    assert probed(text) == expected


def test_items_of_a_tuple_stay_apart() -> None:
    analysis = analyse("pair = (1, 'a')\none = pair[0]\none\ntwo = pair[1]\ntwo")
    assert analysis.value("one") == {Const.of(1)}
    assert analysis.value("two") == {Const.of("a")}


def test_a_star_makes_the_places_of_a_tuple_unknown() -> None:
    text = "rest = [1, 2]\npair = ('a', *rest)\nprobe = pair[0]\nprobe"
    assert probed(text) == {Const.of("a"), Const.of(1), Const.of(2)}


def test_variables_of_a_comprehension_stay_inside() -> None:
    assert probed("probe = 1\nfound = [probe for probe in (2, 3)]\nprobe") == {Const.of(1)}


def test_the_test_of_a_comprehension_narrows() -> None:
    text = "found = [probe for probe in [None, FSDP(Net())] if probe is not None]"
    kept = analyse(text).value("probe", index=0)
    assert {type(atom) for atom in kept} == {Wrapped}


def test_keys_that_are_not_known_reach_every_item() -> None:
    text = "d = {input(): 1, 'a': 2}\nprobe = d['a']\nprobe"
    assert probed(text) == {Const.of(1), Const.of(2)}


@pytest.mark.parametrize(
    ("test", "held"),
    [("", {1, None}), (" if v is not None", {1}), (" if v", {1}), (" if k != 'b'", {1, None})],
)
def test_a_dict_without_some_of_the_items_of_another_one(test: str, held: set[object]) -> None:
    text = f"d = {{'a': 1, 'b': None}}\nc = {{k: v for k, v in d.items(){test}}}\nc['a'], c['b']\n"
    found = Analysis(text)
    value = found.value("c['a']") | found.value("c['b']")
    assert {atom.value for atom in value if isinstance(atom, Const)} == held
