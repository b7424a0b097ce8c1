"""What an attribute of an object is."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import (
    Const,
    Instance,
    Method,
    Symbol,
    Value,
)
from support.values import FULL, ZERO2, analyse, check_model, probed, reasons, wraps

# Programs in which `probe` is an FSDP model.
MODELS = {
    "super": """
        class Base:
            def build(self):
                return FSDP(Net())
        class Trainer(Base):
            def build(self):
                probe = super().build()
                return probe
        Trainer().build()
        """,
    "property": """
        class Trainer:
            def __init__(self):
                self._model = FSDP(Net())
            @property
            def model(self):
                return self._model
        probe = Trainer().model
        probe
        """,
    "static method": """
        class Factory:
            @staticmethod
            def build(m):
                return FSDP(m)
        probe = Factory.build(Net())
        probe
        """,
    "class method": """
        class Factory:
            @classmethod
            def build(cls, m):
                return FSDP(m)
        probe = Factory.build(Net())
        probe
        """,
    "module attribute": "probe = FSDP(Net()).module\nprobe",
}

# Programs in which `probe` is one of two strategies, and what it can be.
STRATEGIES: dict[str, tuple[str, Value]] = {
    "class attribute": (
        """
        class Config:
            strategy = ShardingStrategy.FULL_SHARD
        probe = Config.strategy
        probe
        """,
        frozenset({FULL}),
    ),
    "module-level object": (
        """
        class Config:
            def __init__(self):
                self.strategy = ShardingStrategy.FULL_SHARD
        CONFIG = Config()
        def f():
            probe = CONFIG.strategy
            return probe
        """,
        frozenset({FULL}),
    ),
    "object that is changed": (
        """
        class Config:
            def __init__(self):
                self.strategy = ShardingStrategy.FULL_SHARD
        CONFIG = Config()
        def change():
            CONFIG.strategy = ShardingStrategy.SHARD_GRAD_OP
        def f():
            probe = CONFIG.strategy
            return probe
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


def test_methods_and_constants_of_libraries() -> None:
    assert probed("probe = torch.float16\nprobe") == {Symbol("torch.float16")}
    (atom,) = probed("model = DDP(Net())\nprobe = model.no_sync\nprobe")
    assert isinstance(atom, Method)
    assert atom.name == "no_sync"


def test_a_model_forwards_to_the_module_that_it_wraps() -> None:
    text = """
        class Own(nn.Module):
            def __init__(self):
                super().__init__()
                self.size = 3
        probe = FSDP(Own()).size
        probe
        """
    assert probed(text) == {Const.of(3)}


def test_what_a_model_wraps_may_be_seen_later_than_its_attributes() -> None:
    text = """
        class Own(nn.Module):
            size = 3
        def look(model):
            probe = model.size
            probe
        def wrap(inner):
            return FSDP(inner)
        look(wrap(None))
        look(wrap(Own()))
        """
    assert Const.of(3) in probed(text)


def test_the_module_of_ddp() -> None:
    value = probed("probe = DDP(Net()).module\nprobe")
    assert {type(atom) for atom in value} == {Instance}


def test_a_class_attribute_of_the_nearest_class() -> None:
    text = "class A:\n    x = 1\nclass B(A):\n    x = 2\nprobe = B().x\nprobe"
    assert probed(text) == {Const.of(2)}


def test_an_attribute_of_a_class_of_a_library() -> None:
    text = "class B(torch.optim.SGD): ...\nprobe = B.step\nprobe"
    assert probed(text) == {Symbol("torch.optim.SGD.step")}


def test_getattr_methods_are_a_reason_not_to_know() -> None:
    text = "class A:\n    def __getattr__(self, name): ...\nprobe = A().x\nprobe"
    (reason,) = reasons(probed(text))
    assert "__getattr__" in reason


def test_super_on_the_second_of_two_bases() -> None:
    text = """
        class A:
            def f(self):
                return 1
        class B:
            def f(self):
                return 2
        class C(A, B):
            def f(self):
                probe = super().f()
                probe
        C().f()
        """
    assert Const.of(1) in probed(text)


def test_items_of_a_module_dict_are_attributes() -> None:
    made = "nets = nn.ModuleDict({})\nnets['one'] = FSDP(Net())\n"
    assert wraps(analyse(f"{made}probe = nets.one\nprobe"))
    assert not wraps(analyse(f"{made}probe = nets.train\nprobe"))
