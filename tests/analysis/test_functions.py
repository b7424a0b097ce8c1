"""Calls of the program's own functions, methods and classes."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import (
    NONE,
    Const,
    Instance,
    Value,
    Wrapped,
)
from support.values import FULL, ZERO2, analyse, check_model, probed, wraps

# Programs in which `probe` is an FSDP model.
MODELS = {
    "function result": """
        def build():
            return FSDP(Net())
        probe = build()
        probe
        """,
    "function result through two": """
        def inner(m):
            return FSDP(m)
        def outer():
            model = inner(Net())
            return model
        probe = outer()
        probe
        """,
    "tuple result": """
        def build():
            return FSDP(Net()), 1
        probe, lr = build()
        probe
        """,
    "dict result": """
        def build():
            return {"model": FSDP(Net()), "lr": 1}
        state = build()
        probe = state["model"]
        probe
        """,
    "parameter": """
        def train(probe):
            return probe
        train(FSDP(Net()))
        """,
    "keyword parameter": """
        def train(*, probe, lr=1):
            return probe
        train(probe=FSDP(Net()))
        """,
    "parameter of a function that is passed": """
        def run(function, model):
            function(model)
        def step(probe):
            return probe
        run(step, FSDP(Net()))
        """,
    "passed on in kwargs": """
        def outer(**kwargs):
            inner(**kwargs)
        def inner(probe=None):
            if probe is not None:
                return probe
        outer(probe=FSDP(Net()))
        """,
    "hook method of a derived class": """
        class Base:
            def __init__(self):
                self.model = self.build()
            def step(self):
                probe = self.model
                return probe
        class Trainer(Base):
            def build(self):
                return FSDP(Net())
        Trainer().step()
        """,
    "dataclass field": """
        @dataclass
        class State:
            model: nn.Module
            lr: float = 0.1
        state = State(FSDP(Net()))
        probe = state.model
        probe
        """,
    "a property of a dataclass made of a dict": """
        @dataclass
        class Settings:
            name: str
            @property
            def model(self):
                return FSDP(Net())
        def f(given):
            probe = Settings(**given).model
            probe
        """,
    "dataclass field by keyword": """
        @dataclass
        class State:
            lr: float
            model: nn.Module
        probe = State(lr=1, model=FSDP(Net())).model
        probe
        """,
    "decorated function": """
        @torch.no_grad()
        def build():
            return FSDP(Net())
        probe = build()
        probe
        """,
    "recursion": """
        def build(m, depth):
            if depth:
                return build(m, depth - 1)
            return FSDP(m)
        probe = build(Net(), 3)
        probe
        """,
}

# Programs in which `probe` is one of two strategies, and what it can be.
STRATEGIES: dict[str, tuple[str, Value]] = {
    "dataclass default": (
        """
        @dataclass
        class Config:
            strategy: ShardingStrategy = ShardingStrategy.FULL_SHARD
        config = Config()
        probe = config.strategy
        probe
        """,
        frozenset({FULL}),
    ),
    "dataclass default and argument": (
        """
        @dataclass
        class Config:
            strategy: ShardingStrategy = ShardingStrategy.FULL_SHARD
        config = Config(strategy=ShardingStrategy.SHARD_GRAD_OP)
        probe = config.strategy
        probe
        """,
        frozenset({FULL, ZERO2}),
    ),
    "early returns": (
        """
        def choose(name):
            if name == "full":
                return ShardingStrategy.FULL_SHARD
            if name == "zero2":
                return ShardingStrategy.SHARD_GRAD_OP
            raise ValueError(name)
        probe = choose(input())
        probe
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


def test_plain_else() -> None:
    analysis = analyse(
        """
        def prepare(m, use_fsdp):
            if use_fsdp:
                m = FSDP(m)
            return m
        probe = prepare(Net(), True)
        probe
        """
    )
    value = analysis.value("probe")
    assert len(wraps(analysis)) == 1
    assert any(isinstance(atom, Instance) for atom in value)


def test_a_function_without_return_gives_none() -> None:
    assert probed("def f(): ...\nprobe = f()\nprobe") == NONE


def test_a_subclass_of_fsdp_makes_a_model() -> None:
    value = probed("class Mine(FSDP): ...\nprobe = Mine(Net())\nprobe")
    assert Wrapped(None) in value
    assert any(isinstance(atom, Instance) for atom in value)


def test_methods_are_followed_apart_for_each_class() -> None:
    analysis = analyse(
        """
        class Base:
            def build(self):
                return self.make()
        class One(Base):
            def make(self):
                return FSDP(Net())
        class Other(Base):
            def make(self):
                return 1
        One().build()
        Other().build()
        """
    )
    assert wraps(analysis, "One().build()")
    assert analysis.value("Other().build()") == {Const.of(1)}


def test_extra_arguments_go_into_the_stars() -> None:
    analysis = analyse(
        """
        def f(a, *rest, **named):
            one = rest[0]
            one
            two = named["m"]
            two
        f(1, FSDP(Net()), m=FSDP(Net()))
        """
    )
    assert wraps(analysis, "one")
    assert wraps(analysis, "two")
    assert wraps(analysis, "one") != wraps(analysis, "two")
