"""`backward_prefetch` and `forward_prefetch`: when weights are gathered, never what is computed.

Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.distributed.fsdp import FSDPModule

from fsdp_migrate.runtime.config import BackwardPrefetch


def set_prefetching(
    module: nn.Module, backward_prefetch: BackwardPrefetch | None, forward_prefetch: bool
) -> None:
    """Prefetch around the unit `module` as FSDP1 was told to.

    `BACKWARD_PRE` is FSDP2's default. `BACKWARD_POST` differs from it in timing only and is left at
    the default. `None` makes the unit prefetch nothing but itself, which is what FSDP2 takes as
    "nothing": an empty list means "the default" to it.

    FSDP1 learnt the order for `forward_prefetch` from the first forward. Here it is taken from
    lists of layers, where it is certain: each unit of an `nn.ModuleList` or `nn.Sequential`
    fetches the next one's weights.
    """
    if backward_prefetch is None and isinstance(module, FSDPModule):
        module.set_modules_to_backward_prefetch([module])
    if not forward_prefetch:
        return
    for parent in module.modules():
        if isinstance(parent, (nn.ModuleList, nn.Sequential)):
            for first, second in pairwise(parent.children()):
                if isinstance(first, FSDPModule) and isinstance(second, FSDPModule):
                    first.set_modules_to_forward_prefetch([second])
