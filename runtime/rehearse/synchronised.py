"""Batch norm over all ranks, whose kernels are for GPUs alone, in plain operations."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from fsdp_migrate.runtime.rehearse.patching import put


def install() -> None:
    """Let `SyncBatchNorm` work on the CPU."""
    put(nn.SyncBatchNorm, forward=_forward)


def _forward(self: nn.SyncBatchNorm, input: Tensor) -> Tensor:
    self._check_input_dim(input)
    self._check_non_zero_input_channels(input)
    group: Any = self.process_group or None
    if not self.training or not dist.is_initialized() or dist.get_world_size(group) == 1:
        alone: Tensor = nn.modules.batchnorm._BatchNorm.forward(self, input)
        return alone
    wide = input.float()
    dims = [0, *range(2, input.dim())]
    count = input.numel() // input.size(1)
    moments = wide.sum(dims), wide.square().sum(dims), wide.new_tensor([float(count)])
    sums: Tensor = all_reduce(  # type: ignore[no-untyped-call]
        torch.cat(moments), group=group or dist.group.WORLD
    )
    mean, square = (part / sums[-1] for part in sums[:-1].chunk(2))
    variance = (square - mean.square()).clamp_min(0)
    if self.track_running_stats:
        _follow(self, mean.detach(), variance.detach(), sums[-1].item())
    shape = [1, -1, *[1] * (input.dim() - 2)]
    normal = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
    if self.affine:
        normal = normal * self.weight.view(shape) + self.bias.view(shape)
    narrow: Tensor = normal.to(input.dtype)
    return narrow


def _follow(norm: nn.SyncBatchNorm, mean: Tensor, variance: Tensor, count: float) -> None:
    """Move the running statistics as batch norm does."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    tracked = float(norm.num_batches_tracked)
    part = 1 / tracked if norm.momentum is None else norm.momentum
    unbiased = variance * (count / max(count - 1, 1))
    for running, now in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        running.lerp_(now.to(running.dtype), part)
