"""The calls that make FSDP1 models."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fsdp_migrate.analysis.values import NOTHING, Instance
from fsdp_migrate.analysis.wraps import WrapFact
from support.values import analyse


def fact(text: str) -> WrapFact:
    (found,) = analyse(text).solver.wraps.values()
    return found


def test_what_is_wrapped() -> None:
    assert {type(atom) for atom in fact("FSDP(Net())").inner} == {Instance}
    assert {type(atom) for atom in fact("FSDP(module=Net())").inner} == {Instance}
    assert fact("FSDP(**{})").inner == NOTHING


def test_nobody_writes_into_facts() -> None:
    found: Any = fact("FSDP(Net())")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.opaque = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.arguments["module"].node = None
