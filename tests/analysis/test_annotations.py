"""What annotations promise."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import MODEL, Container
from support.values import probed


@pytest.mark.parametrize(
    "annotation", ["FSDP", '"FSDP"', "Optional[FSDP]", "FSDP | None", "Union[FSDP, None]"]
)
def test_a_model(annotation: str) -> None:
    assert probed(f"def f(x: {annotation}):\n    probe = x\n    probe") == MODEL


@pytest.mark.parametrize("annotation", ["list[FSDP]", "tuple[FSDP, ...]", "set[FSDP]"])
def test_models_in_a_list(annotation: str) -> None:
    assert probed(f"def f(x: {annotation}):\n    for probe in x:\n        probe") == MODEL


def test_models_in_a_dict() -> None:
    assert probed("def f(x: dict[str, FSDP]):\n    probe = x['a']\n    probe") == MODEL


@pytest.mark.parametrize("annotation", ["list[int]", "dict[FSDP, int]", "type[FSDP]"])
def test_nothing_of_models(annotation: str) -> None:
    value = probed(f"def f(x: {annotation}):\n    probe = x\n    probe")
    assert not any(isinstance(atom, Container) for atom in value)
    assert not value & MODEL
