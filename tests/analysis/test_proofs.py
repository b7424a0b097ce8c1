"""Which argument proves something, and where in a function the proof holds."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.proofs import (
    PROVING,
    Proofs,
    Region,
    model_given,
    name_of,
    region_of,
    root_of,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module, parse
from support.programs import dedent, source


def expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def given(text: str, name: str) -> str | None:
    call = expression(text)
    assert isinstance(call, ast.Call)
    found = model_given(call, f"{FSDP1}.{name}")
    return ast.unparse(found) if found is not None else None


def test_the_model_stands_where_each_function_wants_it() -> None:
    assert given("f(m, FULL)", "state_dict_type") == "m"
    assert given("f(state_dict_type=FULL, module=m)", "state_dict_type") == "m"
    assert given("f(state, m, o)", "shard_full_optim_state_dict") == "m"
    assert given("f(*rest)", "state_dict_type") is None
    assert given("f()", "fsdp_modules") is None


def test_every_function_is_one_of_fsdp1() -> None:
    torch_fsdp = pytest.importorskip("torch.distributed.fsdp")
    for name in PROVING:
        assert hasattr(torch_fsdp.FullyShardedDataParallel, name.rpartition(".")[2])


@pytest.mark.parametrize("text", ["a", "a.b", "a['x'].b[i]", "a[0][self.name]"])
def test_what_can_be_named_again(text: str) -> None:
    assert root_of(expression(text)) is not None


@pytest.mark.parametrize("text", ["f()", "a[f()]", "a().b", "[a]"])
def test_what_may_be_another_object_each_time(text: str) -> None:
    assert root_of(expression(text)) is None


def region(text: str) -> tuple[Module, Region]:
    """Where a proof holds that stands at the name `here`."""
    module = parse(source("train.py", dedent(text)), "/project/train")
    here = next(n for n in module.parents if isinstance(n, ast.Name) and n.id == "here")
    return module, region_of(module, here)


def holds_in(text: str) -> list[int]:
    module, found = region(text)
    lines = range(1, len(module.lines) + 1)
    return [line for line in lines if found.holds(module.name, ast.Pass(lineno=line))]


def test_in_the_whole_function() -> None:
    assert holds_in("def f():\n    a\n    for x in y:\n        here\n    b") == [1, 2, 3, 4, 5]


def test_in_one_branch_where_a_flag_decides() -> None:
    text = "def f():\n    if sharded:\n        a\n        here\n    else:\n        b"
    assert holds_in(text) == [3, 4]
    assert holds_in("def f():\n    a\n    x = here if sharded else b\n    c") == [3]
    assert holds_in("def f():\n    try:\n        a\n    except E:\n        here") == [5]


def test_everywhere_where_steps_and_ranks_are_counted() -> None:
    text = "def f():\n    a\n    if step % 10 == 0 and rank == 0:\n        here"
    assert holds_in(text) == [1, 2, 3, 4]


def test_not_where_another_kind_has_left_before() -> None:
    text = "def f():\n    if kind == 'ddp':\n        a\n        return\n    here"
    assert holds_in(text) == [1, 2, 5]


def test_a_proof_is_certain_or_perhaps() -> None:
    proofs = Proofs()
    branch = Region("train", (3, 4))
    assert proofs.add("train", "model", branch)
    assert not proofs.add("train", "model", branch)
    assert proofs.has("train")
    assert not proofs.has("other")
    assert proofs.of("train", "model", "train", ast.Pass(lineno=3)) is True
    assert proofs.of("train", "model", "train", ast.Pass(lineno=9)) is None
    assert proofs.of("train", "model", "other", ast.Pass(lineno=3)) is None
    assert proofs.of("train", "net", "train", ast.Pass(lineno=3)) is False


def test_names_tell_expressions_apart() -> None:
    texts = ["a", "a.b", "a['b']", "a[b]", "a[0]", "a['0']", "a.b[c.d]", "a[b][0]"]
    assert len({name_of(expression(text)) for text in texts}) == len(texts)
    assert name_of(expression("a . b[ 'x' ]")) == name_of(expression('a.b["x"]'))
