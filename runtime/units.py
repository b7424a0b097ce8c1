"""What this package remembers about the units that it sharded.

FSDP2 keeps its own state on the module; FSDP1 knew a few things more (strategy, precision of
buffers, which parameters were ignored). They are kept here, beside the modules, and die with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from fsdp_migrate.runtime import private_torch
from fsdp_migrate.runtime.config import MixedPrecision, ShardingStrategy


@dataclass
class FsdpUnit:
    """One `fully_shard` call that came from an FSDP1 constructor."""

    strategy: ShardingStrategy
    precision: MixedPrecision
    ignored_modules: set[nn.Module]
    ignored_params: set[nn.Parameter]
    is_root: bool = True
    started: bool = False  # it has run as a root
    buffers_cast: bool = False

    @property
    def keeps_weights_after_forward(self) -> bool:
        """Whether FSDP1 left the weights gathered between forward and backward."""
        return self.strategy in KEEP_AFTER_FORWARD


KEEP_AFTER_FORWARD = (ShardingStrategy.SHARD_GRAD_OP, ShardingStrategy._HYBRID_SHARD_ZERO2)
HYBRID = (ShardingStrategy.HYBRID_SHARD, ShardingStrategy._HYBRID_SHARD_ZERO2)

_units: WeakKeyDictionary[nn.Module, FsdpUnit] = WeakKeyDictionary()
_buffer_dtypes: WeakKeyDictionary[nn.Module, dict[str, torch.dtype]] = WeakKeyDictionary()


def register(module: nn.Module, unit: FsdpUnit) -> None:
    """Remember `unit`; the units inside `module` stop being roots."""
    _units[module] = unit
    for child in sharded_modules(module):
        if child is not module and child in _units:
            _units[child].is_root = False


def unit_of(module: nn.Module) -> FsdpUnit | None:
    """What is known of `module`, if this package sharded it."""
    return _units.get(module)


def sharded_modules(module: nn.Module) -> list[nn.Module]:
    """The FSDP2 units in the tree of `module`, itself included, parents before children."""
    return [m for m in module.modules() if isinstance(m, FSDPModule)]


def own_modules(module: nn.Module) -> Iterator[nn.Module]:
    """`module` and what is below it down to, and without, the next units; breadth first."""
    queue, seen = [module], {module}
    for current in queue:
        yield current
        for child in current.children():
            if child not in seen and not isinstance(child, FSDPModule):
                seen.add(child)
                queue.append(child)


def is_root(module: nn.Module) -> bool:
    """Whether the unit `module` is, as far as is known, inside no other unit."""
    unit = unit_of(module)
    return (unit is None or unit.is_root) and not private_torch.found_nested(module)


def reshard(module: nn.Module) -> None:
    """Register the shards in every unit again, as they are not after a no-grad forward."""
    for unit in sharded_modules(module):
        unit.reshard()  # type: ignore[operator]


def remember_buffer_dtypes(module: nn.Module) -> dict[str, torch.dtype]:
    """The table name -> original dtype of the buffers of `module` that were cast."""
    return _buffer_dtypes.setdefault(module, {})


def original_buffer_dtypes(module: nn.Module) -> dict[str, torch.dtype]:
    """Fully qualified name -> dtype before the cast, for the buffers in the tree of `module`."""
    return {
        f"{prefix}.{name}" if prefix else name: dtype
        for prefix, owner in module.named_modules(remove_duplicate=False)
        for name, dtype in _buffer_dtypes.get(owner, {}).items()
    }
