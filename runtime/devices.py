"""Which device a model is sharded on, and getting it there.

FSDP1 took the device from `device_id`, else from the parameters, else the accelerator, and refused
to run without one. Here a machine without accelerator means the CPU, so that the same program runs
on a laptop with gloo.

Source: `_init_device_handle`, `_move_module_to_device` of torch/distributed/fsdp/_init_utils.py
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from fsdp_migrate.runtime.units import own_modules


def accelerator() -> torch.device | None:
    """The accelerator of this machine without index, `None` if there is none."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def resolve_device(
    device_id: int | torch.device | None, params: Iterable[nn.Parameter]
) -> torch.device:
    """The device to compute on, with an index if it is an accelerator.

    A `device_id` with an index also becomes the current device of the process: FSDP2 shards onto
    the current device, FSDP1 onto the one it was given.

    Raises:
        RuntimeError: the parameters are on different kinds of accelerators.
    """
    chosen = _from_device_id(device_id) or _from_params(params) or accelerator()
    if chosen is None or chosen.type == "cpu":
        return torch.device("cpu")
    current = torch.accelerator.current_device_index()
    if chosen.index is None:
        return torch.device(chosen.type, current)
    if chosen.index != current:
        torch.accelerator.set_device_index(chosen.index)
    return chosen


def devices_per_node(device: torch.device) -> int:
    """How many devices like `device` this machine has (one, if it is the CPU)."""
    if device.type == "cpu":
        return torch.cpu.device_count()
    return torch.accelerator.device_count()


def _from_device_id(device_id: int | torch.device | None) -> torch.device | None:
    if device_id is None or isinstance(device_id, torch.device):
        return device_id
    if isinstance(device_id, str):
        return torch.device(device_id)
    kind = accelerator()
    return torch.device(kind.type, device_id) if kind is not None else torch.device("cpu")


def _from_params(params: Iterable[nn.Parameter]) -> torch.device | None:
    found = {p.device for p in params if p.device.type not in ("cpu", "meta")}
    if len({device.type for device in found}) > 1:
        raise RuntimeError(f"parameters are on different kinds of devices: {found}")
    return next(iter(found), None)


@torch.no_grad()
def move_unit(
    module: nn.Module,
    device: torch.device,
    ignored_params: set[nn.Parameter],
    ignored_modules: set[nn.Module],
) -> None:
    """Move what the unit will own to `device`; ignored states and nested units stay.

    Parameter objects are kept: only their data moves, and is made contiguous.
    """
    kept = {id(buffer) for ignored in ignored_modules for buffer in ignored.buffers()}
    for part in own_modules(module):
        for param in part.parameters(recurse=False):
            if param in ignored_params or type(param.data) is not torch.Tensor:
                continue  # FSDP2 moves tensor subclasses itself
            if not param.is_contiguous():
                param.data = param.data.contiguous()  # FSDP1 took any layout, FSDP2 does not
            if _elsewhere(param, device):
                param.data = param.to(device)
                if param.grad is not None:
                    param.grad.data = param.grad.to(device)
        for buffer in part.buffers(recurse=False):
            if _elsewhere(buffer, device) and id(buffer) not in kept:
                buffer.data = buffer.to(device)


def _elsewhere(tensor: torch.Tensor, device: torch.device) -> bool:
    return tensor.device != device and not tensor.is_meta
