"""Give real tensors to modules built on the meta device, in FSDP1's order.

Order matters: initialisers draw random numbers. A unit is filled breadth first, after the units
below it and before it is sharded, so that the random stream is FSDP1's.

Source: `_need_to_materialize_module` and following of torch/distributed/fsdp/_init_utils.py
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable

import torch
from torch import nn

from fsdp_migrate.runtime.units import own_modules

InitFunction = Callable[[nn.Module], None]


def materialize_unit(
    module: nn.Module,
    init: InitFunction | None,
    device: torch.device,
    ignored_modules: set[nn.Module],
    ignored_params: set[nn.Parameter],
) -> None:
    """Fill the part of `module` that is not yet sharded, if any of it is on the meta device.

    With `init`, it is called with every module of the part, as FSDP1 called `param_init_fn`.
    Without, modules that own tensors get `to_empty(device)` and `reset_parameters()`.

    Raises:
        ValueError: `init` is not callable.
        AttributeError: no `init`, and a module has no `reset_parameters`.
    """
    if not _has_meta(module, ignored_modules, ignored_params):
        return
    parts = _reachable(module, ignored_modules)
    if init is None:
        _reset(parts, device)
        return
    if not callable(init):
        raise ValueError(f"expected param_init_fn to be callable, got {init!r}")
    for part in parts:
        init(part)


def _reachable(module: nn.Module, ignored: set[nn.Module]) -> list[nn.Module]:
    """The modules of the unit, breadth first, not looking below ignored ones."""
    below = {m for other in ignored if other is not module for m in other.modules()}
    return [part for part in own_modules(module) if part is module or part not in below]


def _has_meta(
    module: nn.Module, ignored_modules: set[nn.Module], ignored_params: set[nn.Parameter]
) -> bool:
    params = (p for m in own_modules(module) for p in m.parameters(recurse=False))
    if any(param.is_meta for param in params if param not in ignored_params):
        return True
    owners = (m for m in module.modules() if m not in ignored_modules)
    return any(buffer.is_meta for owner in owners for buffer in owner.buffers(recurse=False))


@torch.no_grad()
def _reset(parts: list[nn.Module], device: torch.device) -> None:
    for part in parts:
        owned = itertools.chain(part.parameters(recurse=False), part.buffers(recurse=False))
        if next(owned, None) is None:
            continue
        part.to_empty(device=device, recurse=False)
        try:
            part.reset_parameters()  # type: ignore[operator]
        except BaseException:
            warnings.warn(
                f"{type(part).__name__} was built on the meta device and could not be initialised "
                "by reset_parameters(); give it that method, or pass param_init_fn",
                stacklevel=2,
            )
            raise
