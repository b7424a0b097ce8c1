"""`clip_grad_norm_`: one norm over sharded and unsharded gradients.

Source: `FullyShardedDataParallel.clip_grad_norm_`; https://docs.pytorch.org/docs/stable/
generated/torch.nn.utils.clip_grad_norm_.html
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Replicate

Axis = tuple[Any, int]  # a mesh and one of its dimensions


@torch.no_grad()
def clip_grad_norm_(
    model: Any, max_norm: float | int, norm_type: float | int = 2.0
) -> torch.Tensor:
    """Scale the gradients of `model` so that their total norm is at most `max_norm`.

    Kept from FSDP1: the norms are taken in float32 whatever the gradients' dtype, ignored (plain)
    parameters count once, one all-reduce per process group, the gradients of offloaded parameters
    may live on the CPU, the result has the widest dtype of the gradients. If nothing is really
    sharded (one rank, `NO_SHARD`), `torch.nn.utils` does it, as under FSDP1.

    Norms of shards are added in another order than FSDP1's flat ones: expect the last bit of a
    finite `norm_type` to differ.

    Args:
        model: an FSDP2 model; anything else with a `clip_grad_norm_` method of its own is asked
            for that one; any other module is clipped by `torch.nn.utils.clip_grad_norm_`.
        norm_type: order of the norm, `math.inf` for the largest element.

    Returns:
        The total norm before clipping, a plain 0-dim tensor (never a DTensor) on the gradients'
        device. Every rank of the model's groups has to call this.
    """
    if not isinstance(model, FSDPModule) and hasattr(model, "clip_grad_norm_"):
        return torch.as_tensor(model.clip_grad_norm_(max_norm, norm_type))
    params = list(model.parameters())
    grads = [_local(p.grad) for p in params if p.grad is not None]
    parts = _by_axes(params)
    order = float(norm_type)
    sharded = any(parts)
    total = _total_norm(parts, order) if sharded else torch.nn.utils.get_total_norm(grads, order)
    if not grads:
        return total
    total = total.to(grads[0].device)
    scale = (float(max_norm) / (total + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(scale.to(grad.device, grad.dtype))
    return total.to(reduce(torch.promote_types, [grad.dtype for grad in grads]))


def _local(grad: torch.Tensor) -> torch.Tensor:
    """What this rank holds of a gradient."""
    return grad.to_local() if isinstance(grad, DTensor) else grad.detach()


def _by_axes(params: Iterable[nn.Parameter]) -> dict[tuple[Axis, ...], list[torch.Tensor]]:
    """The local gradients, apart for every set of mesh dimensions that they are sharded over.

    Grouped by parameters, not gradients: a rank without gradients takes part in the collectives.
    """
    parts: dict[tuple[Axis, ...], list[torch.Tensor]] = {}
    for param in params:
        axes: tuple[Axis, ...] = ()
        if isinstance(param, DTensor):
            mesh = param.device_mesh
            dims = [d for d, p in enumerate(param.placements) if not isinstance(p, Replicate)]
            axes = tuple((mesh, d) for d in dims if mesh.size(d) > 1)
        part = parts.setdefault(axes, [])
        if param.grad is not None:
            part.append(_local(param.grad))
    return parts


def _total_norm(parts: dict[tuple[Axis, ...], list[torch.Tensor]], order: float) -> torch.Tensor:
    """The norm over all parts in float32, reduced over the axes of each."""
    if order == math.inf:
        every_axis = dict.fromkeys(axis for axes in parts for axis in axes)
        return _reduced(_norm(chain.from_iterable(parts.values()), order), every_axis, order)
    norms = [_reduced(_norm(grads, order), axes, order) for axes, grads in parts.items()]
    return _combined(norms, order)


def _reduced(norm: torch.Tensor, axes: Iterable[Axis], order: float) -> torch.Tensor:
    """The norm of what the ranks along `axes` hold together."""
    op = dist.ReduceOp.MAX if order == math.inf else dist.ReduceOp.SUM
    for mesh, dim in axes:
        term = (
            norm.to(mesh.device_type) if order == math.inf else norm.to(mesh.device_type) ** order
        )
        dist.all_reduce(term, op=op, group=mesh.get_group(dim))
        norm = term if order == math.inf else term ** (1.0 / order)
    return norm


def _norm(grads: Iterable[torch.Tensor], order: float) -> torch.Tensor:
    return _combined(
        [
            torch.linalg.vector_norm(grad, order, dtype=torch.float32)
            for grad in grads
            if grad.numel() > 0
        ],
        order,
    )


def _combined(norms: list[torch.Tensor], order: float) -> torch.Tensor:
    if len(norms) < 2:
        return norms[0] if norms else torch.zeros((), dtype=torch.float32)
    device = max((norm.device for norm in norms), key=lambda device: device.type != "cpu")
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack([n.to(device) for n in norms]), order)
    return norm
