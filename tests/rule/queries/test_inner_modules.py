"""The modules inside of wrappers, under names of their own."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.inner_modules import identities, is_inner
from support.facts import Program

HEAD = """
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def first(x):
    return x

base = nn.Linear(4, 4)
other = nn.Conv1d(1, 1, 1)
first(base)
model = FSDP(base)
"""


@pytest.mark.parametrize(
    ("use", "expected"),
    [("base", True), ("model", False), ("other", False), ("unknown", False)],
)
def test_what_is_inside(use: str, expected: bool) -> None:
    asked = Program(f"{HEAD}print({use})\n")
    call = asked.call(f"print({use})")
    assert is_inner(asked.facts, asked.module(), call.args[0]) is expected


def test_before_the_wrap_it_is_no_wrappers_yet() -> None:
    asked = Program(HEAD)
    assert not is_inner(asked.facts, asked.module(), asked.call("first(base)").args[0])


@pytest.mark.parametrize(
    ("compare", "found"),
    [
        ("model is base", 1),
        ("base != model", 1),
        ("model is other", 0),
        ("model.module is model", 0),
        ("model is model", 0),
        ("model is None", 0),
    ],
)
def test_comparisons_that_come_out_otherwise(compare: str, found: int) -> None:
    assert len(list(identities(Program(f"{HEAD}print({compare})\n").facts))) == found


def test_a_model_under_the_name_of_its_module_is_not_inside() -> None:
    text = """
    from torch import nn
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

    class Trainer:
        def __init__(self, model):
            self.model = model

        def wrap(self):
            self.model = FSDP(self.model)

        def run(self):
            print(self.model)

    trainer = Trainer(nn.Linear(4, 4))
    trainer.wrap()
    trainer.run()
    """
    asked = Program(text)
    node = asked.call("print(self.model)").args[0]
    assert not is_inner(asked.facts, asked.module(), node)


@pytest.mark.parametrize(
    ("compare", "found"),
    [
        ("unwrap(model) is not model", 1),
        ("model == unwrap(model)", 1),
        ("same(model) is model", 0),
        ("unwrap(model) is unwrap(model)", 0),
    ],
)
def test_a_function_that_takes_the_wrapper_off(compare: str, found: int) -> None:
    functions = (
        "def unwrap(m):\n    return m.module if hasattr(m, 'module') else m\n\n"
        "def same(m):\n    return m\n\n"
    )
    asked = Program(f"{HEAD}\n{functions}print({compare})\n")
    assert len(list(identities(asked.facts))) == found
