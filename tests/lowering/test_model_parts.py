"""The modules of a model: those of the program, those of torch, those of others, and doubts."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.model_parts import ModelParts, parts_of_model
from support.programs import Analysis

IMPORTS = "import timm\nimport torch\nfrom torch import nn\n\n\n"


def parts(text: str) -> ModelParts:
    """What `model`, as the program makes it, consists of."""
    program = Analysis(f"{IMPORTS}{text}")
    return parts_of_model(program.solver, program.value("model"))


def libraries(found: ModelParts) -> set[str]:
    """The names of the modules of torch."""
    return {getattr(thing, "symbol", "") or getattr(thing, "name", "") for thing in found.libraries}


CLASS = """\
class Net(nn.Module):
    def __init__(self, given):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(given, 4) for _ in range(3)])
        self.head = nn.Sequential(nn.Dropout(), *[nn.Tanh()])
        self.sizes = [given, given]
        self.given = given
        {init}

    def forward(self, x):
        return {call}


def build(given):
    model = Net(given)
    print(model)
"""


def test_modules_of_the_program_and_of_torch() -> None:
    found = parts(CLASS.format(init="pass", call="self.head(x)"))
    assert len(found.classes) == 1
    assert {"torch.nn.Linear", "torch.nn.Dropout", "torch.nn.Tanh"} <= libraries(found)
    assert found.unfollowed == ""


def test_a_module_that_is_given_from_outside_is_a_doubt() -> None:
    found = parts(CLASS.format(init="pass", call="self.given(x)"))
    assert "known only at run time" in found.unfollowed


def test_modules_of_other_libraries_have_a_name() -> None:
    found = parts(CLASS.format(init="self.body = timm.create_model('x')", call="self.body(x)"))
    assert found.unfollowed == "`timm.create_model` is not of this program"
    assert parts("model = torch.hub.load('x', 'y')\nprint(model)\n").foreign == {"torch.hub.load"}


def test_what_a_class_derives_from_counts() -> None:
    found = parts("class Norm(nn.BatchNorm2d):\n    pass\n\n\nmodel = Norm(4)\nprint(model)\n")
    assert "torch.nn.BatchNorm2d" in libraries(found)
    foreign = parts(
        "class Net(timm.Model):\n    pass\n\n\nmodel = nn.Sequential(Net())\nprint(model)\n"
    )
    assert not foreign.classes or foreign.unfollowed


@pytest.mark.parametrize(
    "text", ["def build(model):\n    print(model)\n", "model = undefined()\nprint(model)\n"]
)
def test_a_model_that_is_not_followed(text: str) -> None:
    assert parts(text).unfollowed


def test_numbers_and_lists_of_numbers_are_no_doubt() -> None:
    assert (
        parts("model = nn.Sequential(nn.Linear(int(input()), 4))\nprint(model)\n").unfollowed == ""
    )


@pytest.mark.parametrize(
    ("base", "follows"),
    [
        ("diffusers.ModelMixin", True),
        ("transformers.PreTrainedModel", True),
        ("transformers.LlamaModel", False),
        ("diffusers.UNet2DModel", False),
    ],
)
def test_bases_that_bring_no_modules(base: str, follows: bool) -> None:
    library, _, name = base.partition(".")
    found = parts(
        f"from {library} import {name}\n\n\n"
        f"class Net({name}, nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.linear = nn.Linear(4, 4)\n\n\nmodel = Net()\nprint(model)\n"
    )
    assert (found.unfollowed == "") == follows
