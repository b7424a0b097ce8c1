"""Groups of parameters that others make of a model."""

from __future__ import annotations

import pytest

from support.programs import migrate

HEAD = """\
import libs
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(net, teacher):
"""
TAIL = """
    model = FSDP(net, use_orig_params=True)
    return model, torch.optim.AdamW(made, lr=0.1)
"""
TAKEN = {
    "a library's function": "    made = libs.groups(net, 0.1)",
    "by keyword": "    made = libs.groups(model=net)",
    "a method of a model that nobody knows": "    made = net.groups()",
    "by way of another list": "    given = libs.groups(net)\n    made = [*given]",
}
NOT = {
    "of another model": "    made = libs.groups(teacher)",
    "no model at all": "    made = libs.groups(0.1)",
    "never an optimizer's": "    size = libs.groups(net)\n    made = teacher.parameters()",
}


def codes(text: str) -> set[str]:
    return {item.code for item in migrate(f"{HEAD}{text}{TAIL}").findings}


@pytest.mark.parametrize("shape", TAKEN)
def test_they_are_the_models_parameters(shape: str) -> None:
    assert "FSDP501" in codes(TAKEN[shape])


@pytest.mark.parametrize("shape", NOT)
def test_they_are_not(shape: str) -> None:
    assert "FSDP501" not in codes(NOT[shape])
