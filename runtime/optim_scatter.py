"""An optimizer state dict that only rank 0 has, given to every rank.

Source: `scatter_full_optim_state_dict` of FSDP1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from fsdp_migrate.runtime.broadcast import broadcast_tensors
from fsdp_migrate.runtime.optim_state import OptimState


@dataclass(frozen=True)
class _Slot:
    """The place of a tensor in the skeleton of a state dict."""

    index: int
    shape: torch.Size
    dtype: torch.dtype


def broadcast_state(
    model: nn.Module, osd: OptimState | None, group: dist.ProcessGroup | None = None
) -> OptimState:
    """The `osd` of rank 0 of `group` on every rank; what other ranks bring is ignored.

    Tensors travel on the model's device and arrive on the CPU, one at a time.
    """
    if dist.get_world_size(group) == 1:
        return osd or {}
    first = dist.get_rank(group) == 0
    tensors: list[torch.Tensor] = []
    slots: list[_Slot] = []
    message: list[Any] = [_take_out(osd, tensors, slots) if first else None, slots]
    source = 0 if group is None else dist.get_global_rank(group, 0)
    dist.broadcast_object_list(message, src=source, group=group)
    device = _communication_device(model)
    received = []
    for slot in message[1]:
        buffer = (
            tensors[slot.index].detach().to(device, copy=True)
            if first
            else torch.empty(slot.shape, dtype=slot.dtype, device=device)
        )
        broadcast_tensors([buffer], group)
        received.append(buffer.cpu())
    restored: OptimState = _put_back(message[0], received)
    return restored


def _take_out(value: Any, tensors: list[torch.Tensor], slots: list[_Slot]) -> Any:
    if isinstance(value, torch.Tensor):
        slot = _Slot(len(tensors), value.shape, value.dtype)
        tensors.append(value)
        slots.append(slot)
        return slot
    if isinstance(value, dict):
        return {key: _take_out(item, tensors, slots) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_take_out(item, tensors, slots) for item in value)
    return value


def _put_back(value: Any, tensors: list[torch.Tensor]) -> Any:
    if isinstance(value, _Slot):
        return tensors[value.index]
    if isinstance(value, dict):
        return {key: _put_back(item, tensors) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_put_back(item, tensors) for item in value)
    return value


def _communication_device(model: nn.Module) -> torch.device:
    for param in model.parameters():
        if isinstance(param, DTensor):
            return torch.device(param.device_mesh.device_type)
        return param.device
    return torch.device("cpu")
