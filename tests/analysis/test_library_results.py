"""What tells an optimizer from other things that libraries make."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.library_results import LibraryResults, Role, is_optimizer_name
from fsdp_migrate.analysis.values import Instance, Result
from support.programs import Analysis

HEAD = """\
import things
import torch


def step_through(scaler, optimizer):
    scaler.step(optimizer)


"""


def role(body: str, head: str = HEAD) -> Role:
    """What the thing is that the program calls `made`."""
    program = Analysis(f"{head}{body}")
    results = LibraryResults(program.solver)
    atoms = [a for a in program.value("made") if isinstance(a, Result | Instance)]
    assert len(atoms) == 1
    return results.role(atoms[0])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("made = things.make(1)\nmade.step()\n", Role.OPTIMIZER),
        ("made = things.make(1)\nfor group in made.param_groups:\n    pass\n", Role.OPTIMIZER),
        ("made = things.make(1)\ntorch.optim.lr_scheduler.StepLR(made, 1)\n", Role.OPTIMIZER),
        (
            "made = things.make(1)\nstep_through(torch.amp.GradScaler(), made)\n",
            Role.OPTIMIZER,
        ),
        ("made = things.make(1)\nmade.update()\n", Role.KEEPS),
        ("made = things.make(1)\nthings.watch(made)\n", Role.KEEPS),
        ("def f():\n    made = things.make(1)\n    return 1, made\n", Role.KEEPS),
        ("made = things.adam(1)\nprint(made / 2, made.item())\n", Role.NONE),
        ("made = torch.optim.Adam([])\nprint(made)\n", Role.OPTIMIZER),
        ("made = torch.optim.swa_utils.AveragedModel(1)\nmade.step()\n", Role.NONE),
        ("made = torch.stack([])\nmade.step()\n", Role.NONE),
    ],
)
def test_by_what_the_program_does_with_it(body: str, expected: Role) -> None:
    assert role(body) is expected


def test_a_result_is_followed_to_the_callers() -> None:
    assert (
        role("def f():\n    return things.make(1)\n\n\nmade = f()\nmade.step()\n") is Role.OPTIMIZER
    )
    assert role("def f():\n    return things.make(1)\n\n\nmade = f()\nprint(made)\n") is Role.NONE


@pytest.mark.parametrize(
    ("base", "body", "expected"),
    [
        ("torch.optim.Optimizer", "pass", Role.OPTIMIZER),
        ("things.Base", "def step(self): pass", Role.OPTIMIZER),
        ("things.Base", "pass", Role.NONE),
        ("torch.nn.Module", "def step(self): pass", Role.NONE),
    ],
)
def test_classes_of_the_program_are_what_they_derive_from(
    base: str, body: str, expected: Role
) -> None:
    made = f"class Adam({base}):\n    {body}\n\n\nmade = Adam()\nprint(made)\n"
    assert role(made) is expected


def test_names_of_optimizers() -> None:
    assert is_optimizer_name("torch.optim.SGD")
    assert is_optimizer_name("torch.distributed.optim.ZeroRedundancyOptimizer")
    assert not is_optimizer_name("torch.optim.lr_scheduler.StepLR")
    assert not is_optimizer_name("torch.optimizers")
