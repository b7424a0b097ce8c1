"""Sums over ranks in rank order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d as c10d
from torch.distributed.tensor import DTensor

Reduce = Callable[..., Any]
SUMS = (dist.ReduceOp.SUM, dist.ReduceOp.AVG)


class Done:
    """The handle of a collective that is complete."""

    def wait(self, *args: Any) -> bool:
        return True

    def is_completed(self) -> bool:
        return True

    def is_success(self) -> bool:
        return True

    def get_future(self) -> torch.futures.Future[None]:
        future: torch.futures.Future[None] = torch.futures.Future()
        future.set_result(None)
        return future


class Reductions:
    """Replacements for the collectives that sum; each takes the original as its first argument."""

    def __init__(self) -> None:
        self._all_gather = c10d.all_gather

    def of(self, name: str) -> Reduce | None:
        """The replacement of a collective of `torch.distributed`, if it sums."""
        replacements: dict[str, Reduce] = {
            "all_reduce": self._all_reduce,
            "reduce_scatter": self._reduce_scatter,
            "reduce_scatter_tensor": self._reduce_scatter_tensor,
            "reduce_scatter_single": self._reduce_scatter_tensor,
            "_reduce_scatter_base": self._reduce_scatter_tensor,
        }
        return replacements.get(name)

    def functional(self, name: str) -> Reduce | None:
        """The replacement of a functional collective, if it sums."""
        return self._functional_all_reduce if name == "all_reduce" else None

    def _parts(self, tensor: Tensor, group: Any) -> list[Tensor]:
        tensor = tensor.detach().contiguous()
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
        self._all_gather(parts, tensor, group=group)
        return parts

    def _all_reduce(
        self,
        original: Reduce,
        tensor: Tensor,
        op: Any = dist.ReduceOp.SUM,
        group: Any = None,
        async_op: bool = False,
    ) -> Any:
        if op not in SUMS or isinstance(tensor, DTensor):
            return original(tensor, op=op, group=group, async_op=async_op)
        with torch.no_grad():
            tensor.copy_(_sum(self._parts(tensor, group), op))
        return Done() if async_op else None

    def _reduce_scatter_tensor(
        self,
        original: Reduce,
        output: Tensor,
        input: Tensor,
        op: Any = dist.ReduceOp.SUM,
        group: Any = None,
        async_op: bool = False,
    ) -> Any:
        if op not in SUMS:
            return original(output, input, op=op, group=group, async_op=async_op)
        world, rank = dist.get_world_size(group), dist.get_rank(group)
        with torch.no_grad():
            mine = [part.view(world, -1)[rank] for part in self._parts(input, group)]
            output.copy_(_sum(mine, op).view_as(output))
        return Done() if async_op else None

    def _reduce_scatter(
        self,
        original: Reduce,
        output: Tensor,
        input_list: list[Tensor],
        op: Any = dist.ReduceOp.SUM,
        group: Any = None,
        async_op: bool = False,
    ) -> Any:
        if op not in SUMS:
            return original(output, input_list, op=op, group=group, async_op=async_op)
        with torch.no_grad():
            sums = [_sum(self._parts(tensor, group), op) for tensor in input_list]
            output.copy_(sums[dist.get_rank(group)])
        return Done() if async_op else None

    def _functional_all_reduce(
        self,
        original: Reduce,
        tensor: Tensor,
        reduceOp: str,
        group: Any,
        tag: str = "",
    ) -> Any:
        ranks = _process_group(group)
        differentiable = torch.is_grad_enabled() and tensor.requires_grad
        op = reduceOp.lower()
        sums = op in ("sum", "avg") and not isinstance(tensor, DTensor)
        if not sums or ranks is None or differentiable:
            return original(tensor, reduceOp, group, tag)
        with torch.no_grad():
            return _sum(self._parts(tensor, ranks), SUMS[op == "avg"])


def _sum(parts: list[Tensor], op: Any) -> Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total.div_(len(parts)) if op == dist.ReduceOp.AVG else total


def _process_group(group: Any) -> Any:
    """The process group that a functional collective names: a group, a mesh, or (mesh, dim)."""
    if isinstance(group, tuple):
        return group[0].get_group(group[1])
    if isinstance(group, dist.ProcessGroup):
        return group
    return group.get_group() if hasattr(group, "get_group") else None
