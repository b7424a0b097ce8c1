"""Tensors inside arguments and outputs of forwards, whatever they are wrapped in."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch


def cast_floating(value: Any, dtype: torch.dtype) -> Any:
    """`value` with every floating-point tensor inside it in `dtype`; containers are rebuilt."""
    return map_tensors(
        lambda t: t.to(dtype) if t.is_floating_point() and t.dtype != dtype else t, value
    )


def floating_tensors(value: Any) -> list[torch.Tensor]:
    """The floating-point tensors inside `value`."""
    found: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point():
            found.append(tensor)
        return tensor

    map_tensors(note, value)
    return found


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """`value` with `function` applied to every tensor inside it; containers are rebuilt."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        changed = {name: map_tensors(function, getattr(value, name)) for name in fields}
        return dataclasses.replace(value, **changed)
    if isinstance(value, dict):
        rebuilt = copy.copy(value)
        rebuilt.update({key: map_tensors(function, item) for key, item in value.items()})
        return rebuilt
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, (list, tuple, set)):
        return type(value)(map_tensors(function, item) for item in value)
    return value
