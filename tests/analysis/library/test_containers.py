"""What is put into containers, and what comes out."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import (
    NONE,
    Const,
    Value,
    Wrapped,
)
from support.programs import Analysis
from support.values import FULL, ZERO2, check_model, probed, reasons

# Programs in which `probe` is an FSDP model.
MODELS = {
    "list that grows": "models = []\nmodels.append(FSDP(Net()))\nprobe = models[-1]\nprobe",
    "dict values": "models = {'a': FSDP(Net())}\nfor probe in models.values():\n    probe",
    "dict items": "models = {'a': FSDP(Net())}\nfor k, probe in models.items():\n    probe",
    "item of a sequential": "model = nn.Sequential(FSDP(Net()))\nprobe = model[0]\nprobe",
}

# Programs in which `probe` is one of two strategies, and what it can be.
STRATEGIES: dict[str, tuple[str, Value]] = {
    "dict get": (
        "M = dict(a=ShardingStrategy.FULL_SHARD)\n"
        "probe = M.get(input(), ShardingStrategy.SHARD_GRAD_OP)\nprobe",
        frozenset({FULL, ZERO2}),
    ),
    "dict update": (
        "B = {}\nB.update(s=ShardingStrategy.FULL_SHARD)\nprobe = B['s']\nprobe",
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d = {'a': 1}\nprobe = d.get('a')", frozenset({Const.of(1)})),
        ("d = {'a': 1}\nprobe = d.get('b', 2)", frozenset({Const.of(2)})),
        ("d = {'a': 1}\nprobe = d.pop('b')", NONE),
        ("d = {}\nprobe = d.setdefault('a', 1)", frozenset({Const.of(1)})),
        ("d = {'a': 1}\nd.update({'a': 2})\nprobe = d['a']", frozenset({Const.of(1), Const.of(2)})),
        ("d = {'a': 1}\nfor probe in d: pass", frozenset({Const.of("a")})),
        ("d = [1]\nd.extend((2,))\nprobe = d[0]", frozenset({Const.of(1), Const.of(2)})),
        ("d = {'a': 1}.copy()\nprobe = d['a']", frozenset({Const.of(1)})),
        ("for probe in {'a': 1}.keys(): pass", frozenset({Const.of("a")})),
    ],
)
def test_methods(text: str, expected: Value) -> None:
    assert probed(f"{text}\nprobe") == expected


def test_other_methods_give_what_nothing_follows() -> None:
    assert reasons(probed("probe = [1].index(1)\nprobe"))


def test_a_dict_merged_with_what_is_not_known() -> None:
    value = probed("d = {'a': 1, **input()}\nprobe = d['a']\nprobe")
    assert Const.of(1) in value
    assert reasons(value)


def test_getitem_of_the_programs_own() -> None:
    text = "class A:\n    def __getitem__(self, i):\n        return 1\nprobe = A()[0]\nprobe"
    assert probed(text) == {Const.of(1)}


def test_submodules_by_iteration_are_not_known() -> None:
    assert reasons(probed("for probe in Net().modules():\n    probe")) == ["a submodule"]
    assert reasons(probed("for probe in Net().children():\n    probe")) == ["a child"]


def test_the_units_of_a_model() -> None:
    assert probed("for probe in FSDP.fsdp_modules(FSDP(Net())):\n    probe") == {Wrapped(None)}


@pytest.mark.parametrize(
    ("lines", "there"),
    [
        ('d = {"a": 1}', True),
        ("d = dict(a=1)", True),
        ('d = {**{"a": 1}}', True),
        ('d = {"a": 1} | {"b": 2}', True),
        ('d = {}\nd["a"] = 1', False),
        ('d = {}\nd.update({"a": 1})', False),
        ('d = {"a": 1}\ndel d["a"]', False),
        ('d = {"a": 1}\nd.pop("a", 2)', False),
        ('d = {"a": 1}\nd.clear()', False),
    ],
)
def test_a_default_counts_unless_the_key_is_there_from_the_start(lines: str, there: bool) -> None:
    value = Analysis(f'{lines}\nx = d.get("a")\n').value("d.get('a')")
    assert (value & NONE == frozenset()) is there


def test_a_parameter_has_its_default_where_a_spread_dict_may_lack_it() -> None:
    text = "def f(a=None):\n    return a\n\n\nd = {}\nif f:\n    d['a'] = 1\nf(**d)\n"
    assert NONE & Analysis(text).value("a")
    assert not NONE & Analysis(text.replace("d = {}", "d = {'a': 2}")).value("a")


def test_a_method_of_modules_is_not_one_of_lists() -> None:
    text = """
        def build(both):
            net = Net()
            return (net, "names") if both else net
        probe = FSDP(build(False).eval().requires_grad_(False))
        probe
        """
    check_model(text)
