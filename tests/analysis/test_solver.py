"""Which values reach which expression, through everything that Python has to carry them."""

from __future__ import annotations

from typing import Any

import pytest

from fsdp_migrate.analysis.values import (
    Const,
    Instance,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    constants,
)
from fsdp_migrate.syntax.fsdp1_names import ROOT
from support.programs import Analysis, dedent

HEAD = dedent(
    """
    import contextlib
    import dataclasses
    import functools
    from dataclasses import dataclass, field
    from functools import partial
    from typing import Optional, Union

    import torch
    from torch import nn
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
    from torch.distributed.fsdp import MixedPrecision, ShardingStrategy
    from torch.nn.parallel import DistributedDataParallel as DDP


    class Net(nn.Module):
        def forward(self, x):
            return x


    """
)
FULL = Symbol(f"{ROOT}.ShardingStrategy.FULL_SHARD")
ZERO2 = Symbol(f"{ROOT}.ShardingStrategy.SHARD_GRAD_OP")


def analyse(text: str) -> Analysis:
    return Analysis(HEAD + dedent(text))


def wraps(analysis: Analysis, text: str = "probe", **where: Any) -> set[Wrapped]:
    return analysis.solver.wrapped(analysis.value(text, **where))


def is_wrapped(analysis: Analysis, text: str = "probe", **where: Any) -> bool:
    """Whether `text` is an FSDP model, and nothing else but the module in it."""
    value = analysis.value(text, **where)
    others = {a for a in value if not isinstance(a, Wrapped | Instance)}
    return bool(analysis.solver.wrapped(value)) and not others


# Programs in which `probe` is an FSDP model.
MODELS = {
    "assignment": "probe = FSDP(Net())\nprobe",
    "chain": "a = b = FSDP(Net())\nprobe = b\nprobe",
    "unpacking": "probe, other = FSDP(Net()), 3\nprobe",
    "walrus": "if (probe := FSDP(Net())) is not None:\n    probe",
    "conditional expression": "probe = FSDP(Net()) if torch.cuda.is_available() else Net()\nprobe",
    "or": "probe = None or FSDP(Net())\nprobe",
    "cast": "from typing import cast\nprobe = cast(nn.Module, FSDP(Net()))\nprobe",
    "methods that give the model back": "probe = FSDP(Net()).cuda().train().to('cuda')\nprobe",
    "compile": "probe = torch.compile(FSDP(Net()))\nprobe",
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
    "passed on in kwargs": """
        def outer(**kwargs):
            inner(**kwargs)
        def inner(probe=None):
            if probe is not None:
                return probe
        outer(probe=FSDP(Net()))
        """,
    "attribute of self": """
        class Trainer:
            def __init__(self):
                self.model = FSDP(Net())
            def step(self):
                probe = self.model
                return probe
        Trainer().step()
        """,
    "attribute set in another method": """
        class Trainer:
            def setup(self):
                self.model = FSDP(Net())
            def step(self):
                probe = self.model
                return probe
        """,
    "attribute set by a base class": """
        class Base:
            def __init__(self):
                self.model = FSDP(Net())
        class Trainer(Base):
            def step(self):
                probe = self.model
                return probe
        """,
    "attribute set by a derived class": """
        class Base:
            def step(self):
                probe = self.model
                return probe
        class Trainer(Base):
            def __init__(self):
                self.model = FSDP(Net())
        Trainer().step()
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
    "attribute of an object that is passed": """
        class State:
            pass
        def step(state):
            probe = state.model
            return probe
        state = State()
        state.model = FSDP(Net())
        step(state)
        """,
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
    "dataclass field": """
        @dataclass
        class State:
            model: nn.Module
            lr: float = 0.1
        state = State(FSDP(Net()))
        probe = state.model
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
    "global": """
        MODEL = None
        def setup():
            global MODEL
            MODEL = FSDP(Net())
        def step():
            probe = MODEL
            if probe is not None:
                return probe
        setup()
        step()
        """,
    "nonlocal": """
        def main():
            model = None
            def setup():
                nonlocal model
                model = FSDP(Net())
            def step():
                probe = model
                if probe is not None:
                    return probe
            setup()
            step()
        """,
    "closure": """
        def main():
            model = FSDP(Net())
            def step():
                probe = model
                return probe
            step()
        """,
    "lambda": "build = lambda m: FSDP(m)\nprobe = build(Net())\nprobe",
    "lambda that closes over": "model = FSDP(Net())\nget = lambda: model\nprobe = get()\nprobe",
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
    "list": "models = [FSDP(Net()), FSDP(Net())]\nprobe = models[0]\nprobe",
    "list that grows": "models = []\nmodels.append(FSDP(Net()))\nprobe = models[-1]\nprobe",
    "loop": "for probe in [FSDP(Net()) for _ in range(2)]:\n    probe",
    "loop with enumerate": "for i, probe in enumerate([FSDP(Net())]):\n    probe",
    "loop with zip": "for x, probe in zip([1], [FSDP(Net())]):\n    probe",
    "comprehension": "found = [probe for probe in [FSDP(Net())]]",
    "dict": "models = {'a': FSDP(Net())}\nprobe = models['a']\nprobe",
    "dict by key": "models = {}\nmodels['a'] = FSDP(Net())\nprobe = models['a']\nprobe",
    "dict values": "models = {'a': FSDP(Net())}\nfor probe in models.values():\n    probe",
    "dict items": "models = {'a': FSDP(Net())}\nfor k, probe in models.items():\n    probe",
    "dict comprehension": "models = {k: FSDP(Net()) for k in 'ab'}\nprobe = models['a']\nprobe",
    "with": """
        @contextlib.contextmanager
        def opened(m):
            yield m
        with contextlib.ExitStack() as stack:
            probe = stack.enter_context(FSDP(Net()))
            probe
        """,
    "try": """
        try:
            probe = FSDP(Net())
        except RuntimeError:
            raise
        probe
        """,
    "generator": """
        def models():
            yield FSDP(Net())
        for probe in models():
            probe
        """,
    "isinstance": "def f(x):\n    if isinstance(x, FSDP):\n        probe = x\n        probe",
    "isinstance negated": """
        def f(x):
            if not isinstance(x, FSDP):
                return
            probe = x
            probe
        """,
    "annotation": "def f(probe: FSDP):\n    probe",
    "optional annotation": "def f(probe: Optional[FSDP] = None):\n    if probe:\n        probe",
    "union annotation": "def f(probe: 'FSDP | None' = None):\n    if probe:\n        probe",
    "spawn": """
        import torch.multiprocessing as mp
        def worker(rank, probe):
            return probe
        mp.spawn(worker, args=(FSDP(Net()),), nprocs=2)
        """,
    "nested wraps": "probe = FSDP(nn.Sequential(FSDP(Net()), FSDP(Net())))\nprobe",
    "item of a sequential": "model = nn.Sequential(FSDP(Net()))\nprobe = model[0]\nprobe",
    "module attribute": "probe = FSDP(Net()).module\nprobe",
    "match": """
        def build(kind):
            match kind:
                case "a":
                    return FSDP(Net())
                case _:
                    raise ValueError
        probe = build("a")
        probe
        """,
    "async": """
        async def build():
            return FSDP(Net())
        async def main():
            probe = await build()
            return probe
        """,
    "while": """
        probe = None
        while probe is None:
            probe = FSDP(Net())
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


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    analysis = analyse(MODELS[shape])
    assert wraps(analysis), analysis.value("probe")


@pytest.mark.parametrize("shape", [shape for shape in MODELS if shape != "with"])
def test_nothing_else_gets_there(shape: str) -> None:
    """What else the value can be is named, so that the rules see no ghosts."""
    analysis = analyse(MODELS[shape])
    assert is_wrapped(analysis), analysis.value("probe")


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


def test_isinstance_takes_the_others_away() -> None:
    analysis = analyse(
        """
        model = FSDP(Net()) if torch.cuda.is_available() else DDP(Net())
        if isinstance(model, FSDP):
            model.one
        else:
            model.two
        """
    )
    nodes = list(analysis.nodes("model"))
    tested, one, two = (analysis.solver.value(node) for node in nodes[-3:])
    assert len(tested) == 2
    assert {type(atom) for atom in one} == {Wrapped}
    assert {type(atom) for atom in two} == {Result}


def test_several_models_stay_apart() -> None:
    analysis = analyse(
        """
        def step(model):
            return model
        teacher, student = FSDP(Net()), FSDP(Net())
        class Pair:
            def __init__(self, one, other):
                self.one, self.other = one, other
        pair = Pair(teacher, student)
        step(student)
        pair.one
        pair.other
        """
    )
    (teacher,), (student,) = wraps(analysis, "teacher"), wraps(analysis, "student")
    assert teacher != student
    assert wraps(analysis, "pair.one") == {teacher}
    assert wraps(analysis, "pair.other") == {student}
    assert wraps(analysis, "model") == {student}


def test_rebinding_forgets() -> None:
    analysis = analyse("model = FSDP(Net())\nmodel\nmodel = Net()\nprobe = model\nprobe")
    assert not wraps(analysis)


# ---------------------------------------------------------------------- other values
# Programs in which `probe` is one of two strategies, and what it can be.
STRATEGIES: dict[str, tuple[str, Value]] = {
    "literal": ("probe = ShardingStrategy.FULL_SHARD\nprobe", frozenset({FULL})),
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
    "dict get": (
        "M = dict(a=ShardingStrategy.FULL_SHARD)\n"
        "probe = M.get(input(), ShardingStrategy.SHARD_GRAD_OP)\nprobe",
        frozenset({FULL, ZERO2}),
    ),
    "dict merge": (
        "A = {'s': ShardingStrategy.FULL_SHARD}\nB = {**A, 't': 1}\nprobe = B['s']\nprobe",
        frozenset({FULL}),
    ),
    "dict union": (
        "A = {'s': ShardingStrategy.FULL_SHARD}\nB = A | {'t': 1}\nprobe = B['s']\nprobe",
        frozenset({FULL}),
    ),
    "dict of keywords and a dict": (
        "A = {'s': ShardingStrategy.FULL_SHARD}\nB = dict(A, t=1)\nprobe = B['s']\nprobe",
        frozenset({FULL}),
    ),
    "dict update": (
        "B = {}\nB.update(s=ShardingStrategy.FULL_SHARD)\nprobe = B['s']\nprobe",
        frozenset({FULL}),
    ),
    "nested dict": (
        "C = {'fsdp': {'s': ShardingStrategy.FULL_SHARD}}\nprobe = C['fsdp']['s']\nprobe",
        frozenset({FULL}),
    ),
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
    "class attribute": (
        """
        class Config:
            strategy = ShardingStrategy.FULL_SHARD
        probe = Config.strategy
        probe
        """,
        frozenset({FULL}),
    ),
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


@pytest.mark.parametrize("shape", STRATEGIES)
def test_a_strategy_gets_there(shape: str) -> None:
    text, expected = STRATEGIES[shape]
    assert analyse(text).value("probe") == expected


def test_keyword_arguments_of_a_wrap() -> None:
    analysis = analyse(
        """
        def options(bf16):
            found = {"use_orig_params": True}
            if bf16:
                found["mixed_precision"] = MixedPrecision(param_dtype=torch.bfloat16)
            return found
        shared = dict(sharding_strategy=ShardingStrategy.SHARD_GRAD_OP)
        probe = FSDP(Net(), **shared, **options(True), limit_all_gathers=True)
        """
    )
    (fact,) = analysis.solver.wraps.values()
    assert not fact.opaque
    assert set(fact.arguments) == {
        "module",
        "sharding_strategy",
        "use_orig_params",
        "mixed_precision",
        "limit_all_gathers",
    }
    assert fact.arguments["sharding_strategy"].value == {ZERO2}
    assert constants(fact.arguments["use_orig_params"].value) == [True]
    (precision,) = fact.arguments["mixed_precision"].value
    assert isinstance(precision, Result)


def test_keyword_arguments_bound_in_a_partial() -> None:
    analysis = analyse(
        """
        base = partial(FSDP, sharding_strategy=ShardingStrategy.FULL_SHARD)
        more = partial(base, use_orig_params=True)
        probe = more(Net(), device_id=0)
        """
    )
    (fact,) = analysis.solver.wraps.values()
    assert {"module", "sharding_strategy", "use_orig_params", "device_id"} <= set(fact.arguments)
    assert not fact.direct


def test_arguments_by_position() -> None:
    analysis = analyse("probe = FSDP(Net(), None, ShardingStrategy.FULL_SHARD)")
    (fact,) = analysis.solver.wraps.values()
    assert fact.arguments["process_group"].value == {Const.of(None)}
    assert fact.arguments["sharding_strategy"].value == {FULL}


def test_what_comes_from_outside_is_opaque() -> None:
    analysis = analyse("def f(m, **kwargs):\n    return FSDP(m, **kwargs)")
    (fact,) = analysis.solver.wraps.values()
    assert set(fact.arguments) == {"module"}
    assert fact.opaque


# ---------------------------------------------------------------------- what can't be known
UNKNOWNS = {
    "computed attribute": "probe = getattr(torch, input())\nprobe",
    "parameter that nothing passes": "def f(x):\n    probe = x\n    probe",
    "import that isn't there": "from .elsewhere import probe\nprobe",
    "undefined": "exec('probe = 1')\nprobe",
    "other library": "import yaml\nprobe = yaml.safe_load(open('x'))['a']\nprobe",
    "globals": "probe = globals()['FSDP']\nprobe",
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
    value = analyse(UNKNOWNS[shape]).value("probe")
    assert value, "nothing at all means code that is never reached"
    assert not any(isinstance(atom, Wrapped | Const | Instance) for atom in value)


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        ("computed attribute", ""),
        ("parameter that nothing passes", "nothing here passes"),
        ("import that isn't there", "not among the files"),
        ("undefined", "not defined in this file"),
        ("set by a computed name", "setattr"),
    ],
)
def test_unknown_has_a_reason(shape: str, word: str) -> None:
    value = analyse(UNKNOWNS[shape]).value("probe")
    reasons = [atom.reason for atom in value if isinstance(atom, Unknown)]
    assert any(word in reason for reason in reasons) or not word, value


# ---------------------------------------------------------------------- robustness
@pytest.mark.parametrize(
    "text",
    [
        "",
        "class A(A): ...",
        "class A(B): ...\nclass B(A): ...\nA().x",
        "f = lambda: f()\nf()",
        "def f(): return f\nf()()()",
        "x = x.y = x[0] = [x]",
        "x = []\nx.append(x)\nfor y in x: y.append(x)",
        "d = {}\nd['d'] = d\nd['d']['d']",
        "def f(*args, **kwargs): return f(*args, **kwargs)\nf()",
        "[a for a in [b for b in [c for c in x]]]",
        "def f():\n    global g\n    def g(): return f\nf()",
        "import train\ntrain.x = train",
        "from train import *\nx",
        "def f(a, /, b, *, c): ...\nf(1, 2, c=3)",
        "async def f():\n    async with a as b, c:\n        async for x in b: yield await x",
        "match x:\n    case {'a': [1, *r], **k} if k: r\n    case A(b=c) | B(c): c",
        "try:\n    pass\nfinally:\n    del x\n",
        "while 1:\n    for x in y:\n        if x: break\n        continue\n    else: pass\n",
        "x: int\ny: 'list[' = 3\nprint(f'{x!r:>{y}}')",
        "@f\n@g.h(1)\nclass A(metaclass=M, **k):\n    x = y = 1\n    class B: x = 2\n",
        "lambda x=1, *a, y, **k: (yield)",
    ],
)
def test_the_analysis_settles(text: str) -> None:
    Analysis(text)


def test_the_analysis_settles_on_many_values() -> None:
    lines = [f"    if x == {i}:\n        return FSDP(Net(), device_id={i})" for i in range(80)]
    analysis = analyse("def build(x):\n" + "\n".join(lines) + "\nprobe = build(1)\nprobe\n")
    assert len(analysis.solver.wraps) == 80
    assert analysis.value("probe")
