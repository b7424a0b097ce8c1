"""One unit while its parameters are whole; `full_params` makes and closes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from fsdp_migrate.runtime.casting import cast_floating
from fsdp_migrate.runtime.private_torch import precision_of
from fsdp_migrate.runtime.tensors import gather_many, write_back
from fsdp_migrate.runtime.units import own_modules

Place = tuple[nn.Module, str]


@dataclass
class WholeUnit:
    """The whole parameters of `module`, beside the shards that they came from."""

    module: nn.Module
    places: dict[nn.Parameter, list[Place]]
    policy: MixedPrecisionPolicy
    whole: dict[nn.Parameter, nn.Parameter] = field(default_factory=dict)
    running: int = 0
    _lowered: dict[nn.Parameter, tuple[int, nn.Parameter]] = field(default_factory=dict)

    def show(self) -> None:
        """Register the whole parameters in place of the shards."""
        for shard, whole in self.whole.items():
            self._register(shard, whole)

    def hide(self) -> None:
        """Register the shards again."""
        for shard in self.whole:
            self._register(shard, shard)

    def _register(self, shard: nn.Parameter, param: nn.Parameter) -> None:
        for module, name in self.places[shard]:
            setattr(module, name, param)

    @torch.no_grad()
    def write_back(self) -> None:
        """Keep what was done to the whole parameters and to their gradients."""
        for shard, whole in self.whole.items():
            write_back(shard.data, whole.data)
            if shard.grad is not None and whole.grad is not None:
                write_back(shard.grad, whole.grad)

    def enter_forward(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Under mixed precision a forward computes with lower copies, as it always does."""
        self.running += 1
        dtype = self.policy.param_dtype
        if dtype is None:
            return args, kwargs
        if self.running == 1:
            for shard, whole in self.whole.items():
                self._register(shard, self._copy(shard, whole, dtype))
        if not self.policy.cast_forward_inputs:
            return args, kwargs
        return cast_floating(args, dtype), cast_floating(kwargs, dtype)

    def leave_forward(self, output: Any) -> Any:
        """Whole parameters again."""
        self.running -= 1
        if self.policy.param_dtype is not None and self.running == 0:
            self.show()
        dtype = self.policy.output_dtype
        return output if dtype is None else cast_floating(output, dtype)

    def _copy(self, shard: nn.Parameter, whole: nn.Parameter, dtype: torch.dtype) -> nn.Parameter:
        """`whole` in `dtype`, made anew only if `whole` was written to since."""
        if not whole.is_floating_point() or whole.dtype == dtype:
            return whole
        version, copy = self._lowered.get(shard, (-1, whole))
        if version != whole._version:
            copy = nn.Parameter(whole.detach().to(dtype), requires_grad=False)
            self._lowered[shard] = whole._version, copy
        return copy


@torch.no_grad()
def gather_unit(
    module: nn.Module, *, keep: bool, offload_to_cpu: bool, with_grads: bool
) -> WholeUnit:
    """Gather the unit `module`, which is sharded; without `keep` only take part in it."""
    places: dict[nn.Parameter, list[Place]] = {}
    for owner in own_modules(module):
        for name, param in owner.named_parameters(recurse=False, remove_duplicate=False):
            if isinstance(param, DTensor):
                places.setdefault(param, []).append((owner, name))
    shards = list(places)
    graded = [p for p in shards if with_grads and p.grad is not None]
    values = gather_many([p.data for p in shards])
    whole_grads = gather_many([p.grad for p in graded if p.grad is not None])
    grads = dict(zip(graded, whole_grads, strict=True))
    unit = WholeUnit(module, places, precision_of(module))
    if keep:
        for shard, value in zip(shards, values, strict=True):
            whole = nn.Parameter(value.cpu() if offload_to_cpu else value, shard.requires_grad)
            whole.grad = grads.get(shard)
            unit.whole[shard] = whole
    return unit
