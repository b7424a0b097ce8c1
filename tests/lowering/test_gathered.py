"""What runs inside of `summon_full_params`."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.gathered import Gathered
from support.programs import Analysis

HEAD = """\
import contextlib
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(nn.Linear(4, 4))


@contextlib.contextmanager
def whole(model):
    with FSDP.summon_full_params(model):
        yield


class Whole:
    def __init__(self, model):
        self.context = FSDP.summon_full_params(model)

    def __enter__(self):
        self.context.__enter__()

    def __exit__(self, *error):
        self.context.__exit__(*error)


def use():
    return look(model.weight)


"""


@pytest.mark.parametrize(
    ("body", "always", "ever"),
    [
        ("use()", False, False),
        ("with FSDP.summon_full_params(model):\n    use()", True, True),
        ("with torch.no_grad(), FSDP.summon_full_params(model):\n    use()", True, True),
        ("with FSDP.summon_full_params(model):\n    use()\nuse()", False, True),
        ("with whole(model):\n    use()", True, True),
        ("with Whole(model):\n    use()", True, True),
        ("with contextlib.nullcontext():\n    use()", False, False),
        (
            "with contextlib.ExitStack() as stack:\n"
            "    stack.enter_context(FSDP.summon_full_params(model))\n    use()",
            True,
            True,
        ),
        (
            "with contextlib.ExitStack() as stack:\n"
            "    stack.enter_context(FSDP.summon_full_params(model))\nuse()",
            False,
            False,
        ),
        (
            "context = FSDP.summon_full_params(model)\ncontext.__enter__()\nuse()\n"
            "context.__exit__(None, None, None)",
            True,
            True,
        ),
        (
            "context = FSDP.summon_full_params(model)\ncontext.__enter__()\n"
            "context.__exit__(None, None, None)\nuse()",
            False,
            False,
        ),
    ],
)
def test_what_runs_inside(body: str, always: bool, ever: bool) -> None:
    program = Analysis(f"{HEAD}{body}\n")
    gathered = Gathered(program.solver)
    (node,) = program.nodes("look(model.weight)")
    assert gathered.always(program.module(), node) is always
    assert gathered.ever(program.module(), node) is ever
    assert gathered.at(program.module().site(node)) == (always, ever)


@pytest.mark.parametrize(
    ("test", "certain"), [("isinstance(model, FSDP)", True), ("len(ARGS) > 1", False)]
)
def test_a_choice_of_contexts(test: str, certain: bool) -> None:
    program = Analysis(
        f"{HEAD}with FSDP.summon_full_params(model) if {test} else contextlib.nullcontext():\n"
        "    kept = here(model)\n"
    )
    (node,) = program.nodes("here(model)")
    gathered = Gathered(program.solver)
    assert gathered.at(program.module().site(node)) == (certain, True)
