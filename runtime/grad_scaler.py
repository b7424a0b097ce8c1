"""`ShardedGradScaler`: one scaler over sharded and unsharded gradients.

Source: `torch.distributed.fsdp.sharded_grad_scaler.ShardedGradScaler`;
https://docs.pytorch.org/docs/stable/amp.html
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor


class ShardedGradScaler(torch.amp.GradScaler):
    """A gradient scaler for optimizers whose parameters are sharded, plain, or both.

    Kept from FSDP1: each rank unscales its own parts, an overflow on one rank makes all ranks of
    `process_group` skip the step, and gradients may be in float16.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        backoff_factor: float = 0.5,
        growth_factor: float = 2.0,
        growth_interval: int = 2000,
        enabled: bool = True,
        process_group: dist.ProcessGroup | None = dist.group.WORLD,
    ) -> None:
        super().__init__(
            device,
            init_scale=init_scale,
            backoff_factor=backoff_factor,
            growth_factor=growth_factor,
            growth_interval=growth_interval,
            enabled=enabled,
        )
        self.process_group = process_group

    def _unscale_grads_(
        self,
        optimizer: Any,
        inv_scale: torch.Tensor,
        found_inf: torch.Tensor,
        allow_fp16: bool,
    ) -> dict[torch.device, torch.Tensor]:
        groups = [{"params": list(map(_local, g["params"]))} for g in optimizer.param_groups]
        parts: Any = SimpleNamespace(param_groups=groups)
        overflows = super()._unscale_grads_(parts, inv_scale, found_inf, True)
        for overflow in overflows.values():
            dist.all_reduce(overflow, group=self.process_group)
        return overflows


@torch.no_grad()
def _local(parameter: torch.Tensor) -> torch.Tensor:
    """A tensor whose gradient is this rank's part of that of `parameter`, in the same memory."""
    gradient = parameter.grad
    if not isinstance(parameter, DTensor) or not isinstance(gradient, DTensor):
        return parameter
    part = parameter.to_local().detach()
    part.grad = gradient.to_local()
    return part
