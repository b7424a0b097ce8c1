"""Whose parameters an expression is, and where it runs."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.held_data import is_computed_from, keeps_data
from fsdp_migrate.rule.queries.parameters import (
    attributes,
    calls,
    is_certain,
    is_parameters,
    is_summoned,
    model_of,
    modules,
    owners,
    use_orig_params,
)
from support.facts import Program

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    pass


model = FSDP(Net())
plain = Net()
"""


def test_the_models_that_parameters_are_of() -> None:
    asked = Program(f"{HEAD}either = model if input() else plain\nuse([*model.parameters()])\n")
    assert owners(asked.facts, asked.call("model.parameters()"))
    asked = Program(
        f"{HEAD}for p in plain.parameters():\n    use(p)\n"
        "for q in model.parameters():\n    use(q)\n"
    )
    assert not owners(asked.facts, asked.node("p"))
    assert is_certain(asked.facts, asked.node("q"))
    assert is_parameters(asked.facts, asked.node("q"))
    assert not is_parameters(asked.facts, asked.node("p"))


def test_the_model_that_an_attribute_is_in() -> None:
    asked = Program(f"{HEAD}use(model.layer.weight, plain.layer.weight)\n")
    assert model_of(asked.facts, asked.node("model.layer.weight"))
    assert not model_of(asked.facts, asked.node("plain.layer.weight"))


def test_a_place_is_summoned_if_all_its_callers_are() -> None:
    body = "def look():\n    show()\n\n\nwith FSDP.summon_full_params(model):\n    look()\n"
    asked = Program(HEAD + body)
    assert is_summoned(asked.facts, asked.module(), asked.call("show()"))
    asked = Program(f"{HEAD}{body}look()\n")
    assert not is_summoned(asked.facts, asked.module(), asked.call("show()"))


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        ("", False),
        (", use_orig_params=True", True),
        (", use_orig_params=False", False),
        (", use_orig_params=flag()", None),
        (", **options()", None),
    ],
)
def test_whether_fsdp1_kept_the_parameters(arguments: str, known: bool | None) -> None:
    asked = Program(f"{HEAD.replace('FSDP(Net())', f'FSDP(Net(){arguments})')}use(model)\n")
    (wrapped,) = asked.facts.analysis.wrapped(asked.facts.value(asked.node("model")))
    assert use_orig_params(asked.facts, wrapped) is known


def test_a_program_without_models_has_nothing_to_look_at() -> None:
    asked = Program("print(p.grad)\n")
    assert list(modules(asked.facts)) == []
    assert list(attributes(asked.facts, {"grad"})) == []
    asked = Program(f"{HEAD}print(p.grad)\n")
    assert [node.attr for _, node in attributes(asked.facts, {"grad"})] == ["grad"]
    assert len(list(calls(asked.facts))) == 4


@pytest.mark.parametrize(
    ("value", "new"),
    [
        ("p.data.clamp(0)", True),
        ("-p.data", True),
        ("torch.where(p > 0, p, p)", True),
        ("other.data * 2", False),
        ("p.data.view(-1)", False),
        ("old", False),
    ],
)
def test_values_that_are_computed_from_the_parameter(value: str, new: bool) -> None:
    asked = Program(f"{HEAD}for p in model.parameters():\n    use({value}, p)\n")
    computed, parameter = asked.call(f"use({value}, p)").args
    assert is_computed_from(computed, parameter) is new


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        ("old = p.data", True),
        ("olds.append(p.detach())", True),
        ("view.set_(p.data)", True),
        ("view.copy_(p.data)", False),
        ("print(torch.norm(p.data))", False),
        ("x = p.data + 1", False),
        ("old = p.data.clone()", False),
    ],
)
def test_who_keeps_the_tensor_that_was_there(statement: str, kept: bool) -> None:
    asked = Program(f"{HEAD}for p in model.parameters():\n    {statement}\n")
    assert keeps_data(asked.facts, asked.module()) is kept
