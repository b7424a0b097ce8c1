"""One rank's parameters and buffers for all: FSDP1's `sync_module_states`.

Source: `_sync_module_params_and_buffers` of torch/distributed/fsdp/_init_utils.py
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor


def broadcast_module_states(
    module: nn.Module,
    process_group: dist.ProcessGroup | None = None,
    src: int = 0,
    *,
    ignored_params: Collection[nn.Parameter] = (),
) -> None:
    """Overwrite parameters and all buffers of `module`, in place, with those of one rank.

    What FSDP1's `sync_module_states=True` did before sharding. Non-persistent buffers are included,
    tied parameters stay tied, dtypes are kept. Call it on every rank, before `fully_shard`, with
    the module on a device that the group can communicate. Parameters that are sharded already
    are left alone: each rank holds another part of them.

    Args:
        src: the source as a rank *of the group* (0 is what FSDP1 used).
        ignored_params: those that each rank keeps.

    Raises:
        ValueError: a tensor is still on the meta device.
    """
    kept = {id(param) for param in ignored_params}
    shared = (p for p in module.parameters() if not isinstance(p, DTensor) and id(p) not in kept)
    broadcast_tensors([*module.buffers(), *shared], process_group, src)


@torch.no_grad()
def broadcast_tensors(
    tensors: Iterable[torch.Tensor], group: dist.ProcessGroup | None = None, src: int = 0
) -> None:
    """Overwrite `tensors`, the same list on every rank, with those of rank `src` of the group."""
    source = src if group is None else dist.get_global_rank(group, src)
    pending = []
    for tensor in tensors:
        if tensor.is_meta:
            raise ValueError("a tensor on the meta device cannot be broadcast: materialise it")
        local = tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()
        message = local.contiguous()
        work = dist.broadcast(message, src=source, group=group, async_op=True)
        pending.append((work, local, message))
    for work, local, message in pending:
        if work is not None:
            work.wait()
        if message is not local:
            local.copy_(message)
