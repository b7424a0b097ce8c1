"""Finding units: `fsdp_modules` and `is_root`.

Source: `FullyShardedDataParallel.fsdp_modules`, `check_is_root`
"""

from __future__ import annotations

from torch import nn
from torch.distributed.fsdp import FSDPModule

from fsdp_migrate.runtime import units


def fsdp_modules(module: nn.Module, root_only: bool = False) -> list[nn.Module]:
    """The sharded units in the tree of `module`, itself included, parents before children.

    With `root_only`, those that no other unit of that tree contains.
    """
    found = units.sharded_modules(module)
    if not root_only:
        return found
    inner = {below for unit in found for below in units.sharded_modules(unit) if below is not unit}
    return [unit for unit in found if unit not in inner]


def is_root(module: nn.Module) -> bool:
    """Whether `module` is a unit that is inside no other unit, FSDP1's `check_is_root()`.

    FSDP1 declared whichever unit it was asked about first to be the root; this only looks. A
    parent sharded by a plain `fully_shard` is known after the first forward.
    """
    return isinstance(module, FSDPModule) and units.is_root(module)
