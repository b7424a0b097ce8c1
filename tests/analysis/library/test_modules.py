"""Names of `nn.Module` and its wrappers."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.library.modules import (
    DDP,
    OTHER_WRAPPERS,
    PARAMETERS,
    RETURN_SELF,
    SUBMODULES,
    is_torch_module,
)

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("name", sorted((RETURN_SELF - {"unwrap"}) | PARAMETERS | SUBMODULES))
def test_modules_have_these_methods(name: str) -> None:
    assert callable(getattr(torch.nn.Module, name))


def test_wrappers_are_classes_of_torch() -> None:
    for name in OTHER_WRAPPERS:
        found = torch
        for part in name.split(".")[1:]:
            found = getattr(found, part)
        assert issubclass(found, torch.nn.Module)


def test_modules_of_torch_by_name() -> None:
    assert is_torch_module("torch.nn.Linear")
    assert not is_torch_module("torch.nn.functional.linear")
    assert not is_torch_module("torch.nn.init.zeros_")
    assert not is_torch_module(DDP)
