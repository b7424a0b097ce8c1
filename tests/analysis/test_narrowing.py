"""What conditions say about a variable."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.library.tensors import is_sharded
from fsdp_migrate.analysis.values import (
    Const,
    Result,
    Wrapped,
)
from support.values import analyse, check_model, probed

# Programs in which `probe` is an FSDP model.
MODELS = {
    "isinstance": "def f(x):\n    if isinstance(x, FSDP):\n        probe = x\n        probe",
    "isinstance negated": """
        def f(x):
            if not isinstance(x, FSDP):
                return
            probe = x
            probe
        """,
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


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


# Ways to ask, in a method of an engine whose `self.net` is one or the other.
NAMED = {
    "a property": (
        "if self.sharded:",
        "    @property\n    def sharded(self):\n        return isinstance(self.net, FSDP)\n",
    ),
    "a method": (
        "if self.sharded():",
        "    def sharded(self):\n        \"Ask.\"\n        return isinstance(self.net, FSDP)\n",
    ),
    "an attribute": ("if self.flag:", ""),
    "a variable": ("flag = isinstance(self.net, FSDP)\n        if flag:", ""),
    "a function": ("if is_fsdp(self.net):", ""),
    "what is not the other": ("if not self.plain:", (
        "    @property\n    def plain(self):\n        return not self.sharded()\n"
        "    def sharded(self):\n        return is_fsdp(self.net)\n"
    )),
}  # fmt: skip
ENGINE = """
def is_fsdp(model):
    return isinstance(model, FSDP)

class Engine:
    def __init__(self):
        self.net = FSDP(Net()) if torch.cuda.is_available() else DDP(Net())
        self.flag = isinstance(self.net, FSDP)
{methods}
    def run(self):
        {test}
            self.net.one
        else:
            self.net.two

Engine().run()
"""


def _kinds(text: str) -> list[set[type]]:
    analysis = analyse(text)
    nodes = list(analysis.nodes("self.net"))[-2:]
    return [{type(atom) for atom in analysis.solver.value(node)} for node in nodes]


@pytest.mark.parametrize("named", NAMED)
def test_a_test_under_a_name_says_the_same(named: str) -> None:
    test, methods = NAMED[named]
    assert _kinds(ENGINE.format(test=test, methods=methods)) == [{Wrapped}, {Result}]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            "        self.flag =", "        self.flag = None\n        self.flag =", id="twice"
        ),
        pytest.param(
            "FSDP)\n{methods}",
            "FSDP)\n        self.net = DDP(self.net) if self.flag else self.net\n{methods}",
            id="set below",
        ),
        pytest.param(
            "{methods}",
            "    def change(self):\n        self.net = DDP(Net())\n",
            id="set elsewhere",
        ),
        pytest.param("self.flag = isinstance", "self.flag = callable(1) or isinstance", id="or"),
    ],
)
def test_a_name_that_may_say_something_else_by_now(old: str, new: str) -> None:
    text = ENGINE.replace(old, new).format(test="if self.flag:", methods="")
    assert Result in _kinds(text)[0]


def test_a_tuple_of_classes_by_its_name() -> None:
    text = """
        KINDS = (FSDP, DDP)
        def f(x):
            if isinstance(x, KINDS):
                probe = x
                probe
        f(FSDP(Net()))
        f(1)
        """
    assert any(isinstance(atom, Wrapped) for atom in probed(text))


def test_a_function_of_the_users_called_isinstance_says_nothing() -> None:
    text = """
        def isinstance(one, other):
            return True
        def f(x):
            if isinstance(x, FSDP):
                probe = x
                probe
        f(input())
        """
    assert not any(isinstance(atom, Wrapped) for atom in probed(text))


def test_none_is_gone_where_a_variable_is_true_or_is_not_none() -> None:
    for test in ("x", "x is not None", "not x is None", "x and input()"):
        text = f"x = 1 if input() else None\nif {test}:\n    probe = x\n    probe"
        assert probed(text) == {Const.of(1)}, test


def test_hasattr_of_a_method_that_only_fsdp_models_have() -> None:
    text = """
        model = FSDP(Net()) if input() else Net()
        if hasattr(model, "clip_grad_norm_"):
            probe = model
            probe
        """
    assert {type(atom) for atom in probed(text)} == {Wrapped}


def test_an_unknown_object_that_is_asked_for_ddp_is_ddp() -> None:
    (atom,) = probed("def f(x):\n    if isinstance(x, DDP):\n        probe = x\n        probe")
    assert isinstance(atom, Result)
    assert atom.symbol == "torch.nn.parallel.DistributedDataParallel"


def test_an_assertion_says_what_it_is() -> None:
    check_model("def f(x):\n    assert isinstance(x, FSDP)\n    probe = x\n    probe")


def test_a_case_of_a_class_says_what_it_is() -> None:
    text = """
        def f(x):
            match x:
                case FSDP():
                    x.one
                case _:
                    x.two
        """
    analysis = analyse(text)
    one, two = (analysis.solver.value(node) for node in list(analysis.nodes("x"))[-2:])
    assert {type(atom) for atom in one} == {Wrapped}
    assert not any(isinstance(atom, Wrapped) for atom in two)


PLAIN = {
    "a test": "part = p.to_local() if isinstance(p, DTensor) else p",
    "a statement": "part = p\n    if isinstance(part, DTensor):\n        part = part.to_local()",
    "an attribute": "part = p.full_tensor() if hasattr(p, 'full_tensor') else p",
    "a private one": "part = getattr(p, '_local_tensor', p)",
    "a helper": "part = local(p)",
}


@pytest.mark.parametrize("shape", PLAIN)
def test_a_tensor_that_is_no_dtensor_is_not_sharded(shape: str) -> None:
    text = """
        from torch.distributed.tensor import DTensor

        def local(tensor):
            if not isinstance(tensor, DTensor):
                return tensor
            return tensor.to_local()

        for p in FSDP(Net()).parameters():
            {}
            probe = part
            probe
        """
    value = probed(text.format(PLAIN[shape].replace("\n", "\n        ")))
    assert not any(is_sharded(atom) for atom in value)
    assert any(is_sharded(atom) for atom in probed(text.format("part = p")))


STRATEGIES = """
def choose(name):
    return {"full": ShardingStrategy.FULL_SHARD, "grad": ShardingStrategy.SHARD_GRAD_OP,
            "none": ShardingStrategy.NO_SHARD}[name]

strategy = choose(input())
"""


@pytest.mark.parametrize(
    ("test", "kept"),
    [
        ("strategy == ShardingStrategy.NO_SHARD", {"NO_SHARD"}),
        ("strategy is ShardingStrategy.NO_SHARD", {"NO_SHARD"}),
        ("strategy != ShardingStrategy.NO_SHARD", {"FULL_SHARD", "SHARD_GRAD_OP"}),
        ("not strategy == ShardingStrategy.NO_SHARD", {"FULL_SHARD", "SHARD_GRAD_OP"}),
        (
            "strategy in (ShardingStrategy.NO_SHARD, ShardingStrategy.FULL_SHARD)",
            {"FULL_SHARD", "NO_SHARD"},
        ),
        (
            "strategy not in [ShardingStrategy.NO_SHARD, ShardingStrategy.FULL_SHARD]",
            {"SHARD_GRAD_OP"},
        ),
        ("strategy != choose(input())", {"FULL_SHARD", "NO_SHARD", "SHARD_GRAD_OP"}),
        ("strategy == elsewhere.DEFAULT", {"FULL_SHARD", "NO_SHARD", "SHARD_GRAD_OP"}),
        ("strategy == ShardingStrategy.NO_SHARD or x", {"FULL_SHARD", "NO_SHARD", "SHARD_GRAD_OP"}),
    ],
)
def test_members_of_enumerations(test: str, kept: set[str]) -> None:
    text = f"import elsewhere\n{STRATEGIES}if {test}:\n    probe = strategy\n    probe"
    assert {atom.name.rpartition(".")[2] for atom in probed(text)} == kept  # type: ignore[union-attr]


def test_members_below_a_branch_that_returns() -> None:
    text = (
        f"{STRATEGIES}\ndef run(one):\n    if one == ShardingStrategy.NO_SHARD:\n        return\n"
    )
    text += "    probe = one\n    probe\n\nrun(strategy)\n"
    names = {atom.name.rpartition(".")[2] for atom in probed(text)}  # type: ignore[union-attr]
    assert names == {"FULL_SHARD", "SHARD_GRAD_OP"}
