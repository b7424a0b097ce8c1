"""Models of the functions of Python and PyTorch."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.library.calls import models
from fsdp_migrate.analysis.values import (
    Const,
    Instance,
    Params,
    Value,
    Wrapped,
    constants,
    symbols,
)
from support.values import FULL, analyse, check_model, probed, reasons, wraps

# Programs in which `probe` is an FSDP model.
MODELS = {
    "cast": "from typing import cast\nprobe = cast(nn.Module, FSDP(Net()))\nprobe",
    "methods that give the model back": "probe = FSDP(Net()).cuda().train().to('cuda')\nprobe",
    "compile": "probe = torch.compile(FSDP(Net()))\nprobe",
    "setattr": """
        class State:
            pass
        state = State()
        setattr(state, "model", FSDP(Net()))
        probe = state.model
        probe
        """,
    "getattr": """
        class State:
            def __init__(self):
                self.model = FSDP(Net())
        probe = getattr(State(), "model")
        probe
        """,
    "partial of a function": """
        def build(m, lr):
            return FSDP(m)
        make = partial(build, lr=1)
        probe = make(Net())
        probe
        """,
    "partial of the class": "make = partial(FSDP, device_id=0)\nprobe = make(Net())\nprobe",
    "partial in an attribute": """
        class Strategy:
            def __init__(self):
                self.wrap = functools.partial(FSDP, device_id=0)
            def setup(self, m):
                probe = self.wrap(m)
                return probe
        Strategy().setup(Net())
        """,
    "loop with enumerate": "for i, probe in enumerate([FSDP(Net())]):\n    probe",
    "loop with zip": "for x, probe in zip([1], [FSDP(Net())]):\n    probe",
    "spawn": """
        import torch.multiprocessing as mp
        def worker(rank, probe):
            return probe
        mp.spawn(worker, args=(FSDP(Net()),), nprocs=2)
        """,
    "nested wraps": "probe = FSDP(nn.Sequential(FSDP(Net()), FSDP(Net())))\nprobe",
}

# Programs in which `probe` is one of two strategies, and what it can be.
STRATEGIES: dict[str, tuple[str, Value]] = {
    "dict of keywords and a dict": (
        "A = {'s': ShardingStrategy.FULL_SHARD}\nB = dict(A, t=1)\nprobe = B['s']\nprobe",
        frozenset({FULL}),
    ),
    "dataclass field with default": (
        """
        @dataclass
        class Config:
            strategy: ShardingStrategy = field(default=ShardingStrategy.FULL_SHARD)
        probe = Config().strategy
        probe
        """,
        frozenset({FULL}),
    ),
    "dataclass field with factory": (
        """
        def default():
            return ShardingStrategy.FULL_SHARD
        @dataclass
        class Config:
            strategy: ShardingStrategy = field(default_factory=default)
        probe = Config().strategy
        probe
        """,
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


UNKNOWNS = {
    "computed attribute": "probe = getattr(torch, input())\nprobe",
    "other library": "import yaml\nprobe = yaml.safe_load(open('x'))['a']\nprobe",
    "globals": "probe = globals()['FSDP']\nprobe",
    "attributes as a dict": "probe = vars(Net())\nprobe",
    "attribute of a namespace": "import argparse\nargs = argparse.ArgumentParser().parse_args()\n"
    "probe = args.model\nprobe",
    "set by a computed name": """
        class Config:
            pass
        config = Config()
        for name in input():
            setattr(config, name, input())
        probe = config.model
        probe
        """,
    "item of json": "import json\nprobe = json.load(open('x')).get('model')\nprobe",
}


@pytest.mark.parametrize("shape", UNKNOWNS)
def test_unknown_is_not_taken_for_known(shape: str) -> None:
    value = probed(UNKNOWNS[shape])
    assert value, "nothing at all means code that is never reached"
    assert not any(isinstance(atom, Wrapped | Const | Instance) for atom in value)


def test_setattr_by_a_computed_name_is_a_reason() -> None:
    assert any(
        "setattr" in reason for reason in reasons(probed(UNKNOWNS["set by a computed name"]))
    )


def test_getattr_with_a_default() -> None:
    text = "class A:\n    x = 1\nprobe = getattr(A(), 'x', 2)\nprobe"
    assert probed(text) == {Const.of(1), Const.of(2)}


def test_partials_of_partials() -> None:
    analysis = analyse(
        """
        def f(a, b, c):
            probe = (a, b, c)
            a
            b
            c
        partial(partial(f, 1), b=2)(c=3)
        """
    )
    assert [constants(analysis.value(name)) for name in "abc"] == [[1], [2], [3]]


def test_spawn_calls_the_worker_with_a_rank() -> None:
    analysis = analyse(
        """
        import torch.multiprocessing as mp
        def worker(rank, lr):
            rank
            lr
        mp.spawn(fn=worker, args=(0.1,), nprocs=2)
        """
    )
    assert reasons(analysis.value("rank")) == ["the rank that spawn passes"]
    assert constants(analysis.value("lr")) == [0.1]


def test_a_module_of_torch_holds_the_modules_that_it_is_given() -> None:
    analysis = analyse("inner = FSDP(Net())\nholder = nn.Sequential(inner, Net())\nholder\ninner")
    (holder,) = analysis.value("holder")
    parts = analysis.solver.parts(holder)
    assert wraps(analysis, "inner") <= parts
    assert any(isinstance(atom, Instance) for atom in parts)


def test_parameters_of_a_model() -> None:
    (atom,) = probed("model = Net()\nprobe = list(model.parameters())\nprobe")
    assert isinstance(atom, Params)
    assert isinstance(atom.owner, Instance)


def test_calling_a_model_runs_its_forward() -> None:
    analysis = analyse(
        """
        class Own(nn.Module):
            def forward(self, x):
                x
                return 1
        FSDP(Own())(2)
        """
    )
    assert constants(analysis.value("x")) == [2]


def test_models_are_found_by_canonical_names() -> None:
    for name in ("functools.partial", "builtins.getattr", "torch.compile", "typing.cast"):
        assert name in models


@pytest.mark.parametrize(
    "made",
    [
        'importlib.import_module("torch.nn")',
        'pytest.importorskip("torch").nn',
        '__import__("torch.nn").nn',
    ],
)
def test_modules_that_are_imported_by_a_call(made: str) -> None:
    analysis = analyse(f"import importlib\nimport pytest\nprobe = {made}\nprobe.utils\n")
    assert symbols(analysis.value("probe.utils")) == {"torch.nn.utils"}


def test_a_module_whose_name_is_computed_is_not_known() -> None:
    analysis = analyse("import importlib\nprobe = importlib.import_module(name())\nprobe.utils\n")
    assert not symbols(analysis.value("probe.utils"))


LOADED = """
    from diffusers import ModelMixin

    class Own(ModelMixin):
        def __init__(self, width=3):
            super().__init__()
            self.width = width

    made = Own.{call}
    probe = made{field}
    probe
    """


@pytest.mark.parametrize("call", ["from_pretrained('path')", "from_config({'width': 2})"])
def test_a_library_makes_an_object_of_the_class_that_it_is_asked_of(call: str) -> None:
    (made,) = probed(LOADED.format(call=call, field=""))
    assert isinstance(made, Instance)
    width = probed(LOADED.format(call=call, field=".width"))
    assert reasons(width) == [f"what `{call.partition('(')[0]}` passes"]


def test_what_more_is_loaded_is_not_known() -> None:
    call = "from_pretrained('path', output_loading_info=True)"
    assert reasons(probed(LOADED.format(call=call, field="")))
