"""Uses of FSDP1 as the finder hands them to the rules."""

from __future__ import annotations

import ast

from fsdp_migrate.lowering.sharded_tensors import ShardedTensors
from fsdp_migrate.rule.facts import Use
from fsdp_migrate.rule.parts import Parts
from fsdp_migrate.rule.uses import find_uses
from support.programs import Analysis

HEAD = """
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(nn.Linear(8, 8))
"""


def find(analysis: Analysis, *methods: str) -> list[Use]:
    parts = Parts(analysis.solver, ShardedTensors(analysis.solver))
    return list(find_uses(analysis.solver, parts, frozenset(methods)))


def uses(text: str, *methods: str) -> list[Use]:
    return [u for u in find(Analysis(HEAD + text), *methods) if u.name in methods]


def test_a_method_of_a_model() -> None:
    (use,) = uses("model.clip_grad_norm_(1.0, norm_type=2)\n", "clip_grad_norm_")
    assert use.certain
    assert not use.unbound
    assert [ast.unparse(a) for a in use.args] == ["1.0"]
    assert [k.arg for k in use.keywords] == ["norm_type"]


def test_a_method_called_through_the_class_takes_the_model_first() -> None:
    (use,) = uses("FSDP.clip_grad_norm_(model, 1.0, norm_type=2)\n", "clip_grad_norm_")
    assert use.unbound
    assert use.receiver is not None
    assert ast.unparse(use.receiver) == "model"
    assert use.wraps
    assert [ast.unparse(a) for a in use.args] == ["1.0"]
    assert [k.arg for k in use.keywords] == ["norm_type"]


def test_a_method_taken_as_a_value_has_no_arguments() -> None:
    (use,) = uses("clip = model.clip_grad_norm_\n", "clip_grad_norm_")
    assert use.call is None
    assert not use.args
    assert not use.keywords


def test_looking_for_uses_leaves_the_trees_as_they_are() -> None:
    analysis = Analysis(f"{HEAD}with FSDP.no_sync(model):\n    FSDP.clip_grad_norm_(model, 1.0)\n")
    tree = analysis.module().tree
    before = ast.dump(tree)
    first = [(u.name, len(u.args)) for u in find(analysis, "no_sync")]
    assert ast.dump(tree) == before
    again = [(u.name, len(u.args)) for u in find(analysis, "no_sync")]
    assert first == again


def test_of_a_plain_module_nothing_is_found() -> None:
    assert not uses("plain = nn.Linear(8, 8)\nplain.state_dict()\n", "state_dict")


def test_a_model_inside_a_plain_module_is_reached_by_its_state_dict() -> None:
    (use,) = uses("holder = nn.Sequential(model)\nholder.state_dict()\n", "state_dict")
    assert len(use.wraps) == 1


def test_a_function_that_is_given_parameters_is_no_method_of_a_model() -> None:
    """Even where nothing is known of what it is taken from."""
    text = "def step(tools, net):\n    tools.clip_grad_norm_(net.parameters(), 1.0)\n"
    assert uses(f"{text}step(load(), nn.Linear(2, 2))\n", "clip_grad_norm_") == []
    assert len(uses("load().clip_grad_norm_(1.0)\n", "clip_grad_norm_")) == 1
