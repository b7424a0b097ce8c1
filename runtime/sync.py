"""`no_sync`: accumulate gradients without communication.

Source: `FullyShardedDataParallel.no_sync`; `FSDPModule.set_requires_gradient_sync`,
https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.distributed.fsdp import FSDPModule

from fsdp_migrate.runtime.private_torch import keeps_weights, sync_flags
from fsdp_migrate.runtime.units import sharded_modules, unit_of


@contextlib.contextmanager
def no_sync(model: Any, *, reshard_after_backward: bool | None = None) -> Iterator[None]:
    """Inside, backward leaves gradients on the rank; the first backward afterwards reduces all.

    Kept from FSDP1: all units below `model` are switched, what was set before is restored on every
    path (contexts nest), and only whether *backward* runs inside counts. Units of `SHARD_GRAD_OP`
    and `_HYBRID_SHARD_ZERO2` stay gathered until the window ends, one all-gather per window.

    Not kept: FSDP2 sums unsynchronised gradients in `reduce_dtype`, FSDP1 in `param_dtype`; and
    `zero_grad()` inside the window does not drop them.

    Args:
        model: an FSDP2 model, compiled or not; anything else with a `no_sync()` of its own (DDP,
            FSDP1) is asked for that one.
        reshard_after_backward: free weights after each backward of the window; `None` decides by
            what `fully_shard` or `fully_shard_from_fsdp1` was given.

    Raises:
        TypeError: `model` has neither units nor a `no_sync` method.
    """
    if not isinstance(model, FSDPModule) and hasattr(model, "no_sync"):
        with model.no_sync():
            yield
        return
    units = sharded_modules(model) if isinstance(model, nn.Module) else []
    if not units:
        raise TypeError(f"{type(model).__name__} is not sharded and has no no_sync()")
    before = [(unit, sync_flags(unit)) for unit in units]
    try:
        for unit in units:
            _set(unit, False, False, None)
            if _keeps_weights(unit, reshard_after_backward):
                _set(unit, None, None, False)
        yield
    finally:
        for unit, flags in before:
            _set(unit, *flags)


def _keeps_weights(module: nn.Module, reshard_after_backward: bool | None) -> bool:
    if reshard_after_backward is not None:
        return not reshard_after_backward
    unit = unit_of(module)
    return keeps_weights(module) if unit is None else unit.keeps_weights_after_forward


def _set(module: nn.Module, sync: bool | None, all_reduce: bool | None, free: bool | None) -> None:
    """Set the flags of one unit that are not `None`; the first one sets the second one, too."""
    assert isinstance(module, FSDPModule)
    if sync is not None:
        module.set_requires_gradient_sync(sync, recurse=False)
    if all_reduce is not None:
        module.set_requires_all_reduce(all_reduce, recurse=False)
    if free is not None:
        module.set_reshard_after_backward(free, recurse=False)
