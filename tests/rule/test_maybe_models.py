"""Methods of FSDP1's models on objects that nothing proves to be one."""

from __future__ import annotations

import pytest

from support.facts import Program

HEAD = """
import lib
from accelerate import Accelerator
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Own:
    def no_sync(self):
        return self

    def clip_grad_norm_(self, limit):
        return limit


model = FSDP(nn.Linear(2, 2))
"""
MAYBE = {
    "no_sync": (
        "lib.prepare(model).no_sync()",
        "lib.current().no_sync()",
        "lib.Wrapper(model).no_sync()",
        "lib.state.model.no_sync() if lib.a else lib.prepare(model)[0].no_sync()",
        "def f(m):\n    with m.no_sync(): pass",
    ),
    "clip_grad_norm_": (
        "lib.prepare(model).clip_grad_norm_(1.0)",
        "def f(m, limit):\n    m.clip_grad_norm_(limit, norm_type=2)",
    ),
    "module": ("lib.prepare(model).module",),
    "check_is_root": ("def f(m):\n    return m.check_is_root()",),
}
NOT = {
    "no_sync": (
        "def f(trainer, m):\n    with trainer.no_sync(m): pass",
        "Own().no_sync()",
        "lib.Engine().no_sync()",
        "Accelerator().prepare(model)\na = Accelerator()\na.no_sync()",
        "def f(a: Accelerator):\n    a.no_sync()",
        "nn.parallel.DistributedDataParallel(nn.Linear(2, 2)).no_sync()",
    ),
    "clip_grad_norm_": (
        "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        "def f(a, m):\n    a.clip_grad_norm_(m.parameters(), 1.0)",
        "def f(a, ps):\n    a.backward(1)\n    a.clip_grad_norm_(ps, 1.0)",
        "def f(optim):\n    optim.clip_grad_norm_(1.0)\n    optim.step()",
        "def f(a, m):\n    a.clip_grad_norm_(m, max_norm=1.0, error_if_nonfinite=True)",
        "Own().clip_grad_norm_(1.0)",
    ),
    "module": (
        "def f(m):\n    return m.module",
        "lib.current().module",
        "log = lib.logger()\nlog.info(model)\nlog.module",
    ),
}


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in MAYBE.items() for t in texts])
def test_it_may_be_a_model(name: str, text: str) -> None:
    use = Program(HEAD + text).use(name)
    assert use.receiver is not None
    assert not use.certain


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in NOT.items() for t in texts])
def test_it_is_none(name: str, text: str) -> None:
    program = Program(HEAD + text)
    assert not [u for u in program.facts.uses if u.name.rpartition(".")[2] == name]


def test_it_goes_with_the_models_that_it_may_be() -> None:
    program = Program(HEAD + "lib.prepare(model).no_sync()")
    use = program.use("no_sync")
    assert {w.site for w in use.wraps} == set(program.facts.wraps)


def test_without_a_model_nothing_may_be_one() -> None:
    program = Program("def f(m):\n    with m.no_sync(): pass")
    assert not program.facts.uses
