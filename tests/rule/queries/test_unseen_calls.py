"""What can take a state dict inside of a context without anybody seeing it."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.unseen_calls import unseen_calls
from support.facts import Program
from support.programs import dedent
from support.values import HEAD

START = (
    HEAD
    + """
import peft
from torch.distributed.fsdp import StateDictType
FULL = StateDictType.FULL_STATE_DICT
"""
)
UNSEEN = {
    "a method of the model's": "model.save_pretrained(folder)",
    "of a part": "model.encoder.save(folder)",
    "a library": "peft.get_peft_model_state_dict(model)",
    "a parameter": "other(model)",
    "in a list": "other([model, 1])",
    "by name": "state = model.state_dict()\n        other(net=model)",
    "a part that is given": "state = model.state_dict()\n        other(model.encoder)",
    "nothing else in it": "other.save(folder)",
    "in a helper": "helper(model, other)",
}
SEEN = {
    "torch": "torch.save(model.state_dict(), folder)",
    "builtins": "print(isinstance(model, Net), type(model), getattr(model, 'x'))",
    "modules' own": "model.eval()\n        model.zero_grad()\n        x = model(1)",
    "beside a call that is seen": "state = model.state_dict()\n        other.log(folder)",
    "a helper": "save(model, folder)",
}


def program(body: str) -> Program:
    text = f"""
    def helper(net, call):
        call(net)

    def save(net, path):
        torch.save(net.state_dict(), path)

    def f(model, other, folder):
        with FSDP.state_dict_type(model, FULL):
            {body.replace(chr(10), chr(10) + "    ")}
    """
    return Program(START + dedent(text))


@pytest.mark.parametrize("shape", UNSEEN)
def test_it_may_take_the_state(shape: str) -> None:
    assert list(unseen_calls(program(UNSEEN[shape]).facts))


@pytest.mark.parametrize("shape", SEEN)
def test_it_takes_no_state(shape: str) -> None:
    assert not list(unseen_calls(program(SEEN[shape]).facts))


def test_a_mode_for_good_is_about_the_library_if_nobody_else_takes_the_state() -> None:
    text = "def f(model):\n    FSDP.set_state_dict_type(model, FULL)\n    peft.save(model)"
    assert len(list(unseen_calls(Program(START + text).facts))) == 1
    taken = f"{text}\n    return model.state_dict()"
    assert not list(unseen_calls(Program(START + taken).facts))


def test_outside_of_contexts_nothing_is_asked() -> None:
    text = "def f(model: FSDP):\n    peft.save(model)"
    assert not list(unseen_calls(Program(START + text).facts))
