"""`load_sharded_optimizer_state_dict`: optimizer shards out of a distributed checkpoint.

Source: torch/distributed/checkpoint/optimizer.py;
https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.tensor import DTensor

if TYPE_CHECKING:
    from torch.distributed.checkpoint.planner import LoadPlanner
    from torch.distributed.checkpoint.storage import StorageReader

Path = tuple[Any, ...]


def load_sharded_optimizer_state_dict(
    model_state_dict: dict[str, Any],
    optimizer_key: str,
    storage_reader: StorageReader,
    planner: LoadPlanner | None = None,
) -> dict[str, Any]:
    """Read what is saved under `optimizer_key`, sharded like the model's parameters.

    Kept from FSDP1: the layout comes from `model_state_dict` (a sharded one), the result is nested
    as it was saved, `{optimizer_key: {"state": {name: ...}, "param_groups": [...]}}`, and fits
    `optim_state_dict_to_load`. Shards are DTensors; checkpoints that FSDP1 wrote are read, too.
    Collective on all ranks.
    """
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    metadata = storage_reader.read_metadata()
    paths: dict[str, Path] = metadata.planner_data or {}
    wanted: dict[str, Any] = {}
    for key, stored in metadata.state_dict_metadata.items():
        path = paths[key]
        if path[0] != optimizer_key:
            continue
        if isinstance(stored, TensorStorageMetadata):
            like = model_state_dict.get(str(path[2])) if len(path) > 2 else None
            wanted[key] = _space(stored.size, stored.properties.dtype, like)
        else:
            wanted[key] = None  # filled with the stored object
    load(wanted, storage_reader=storage_reader, planner=planner)
    nested: dict[str, Any] = {}
    for key, value in wanted.items():
        _put(nested, paths[key], value)
    return nested


def _space(size: torch.Size, dtype: torch.dtype, like: Any) -> torch.Tensor:
    """Memory for a tensor: shards if `like` is a DTensor of its size, else all of it."""
    if isinstance(like, DTensor) and like.shape == size:
        return torch.zeros_like(like.detach(), dtype=dtype)
    return torch.zeros(size, dtype=dtype)


def _put(container: Any, path: Path, value: Any) -> None:
    """Set the element at `path`; numbers in the path mean lists, which grow as needed."""
    for step, following in zip(path, [*path[1:], None], strict=True):
        empty: Any = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(container, list):
            container.extend([None] * (step + 1 - len(container)))
            if following is None or container[step] is None:
                container[step] = empty
        elif following is None or step not in container:
            container[step] = empty
        container = container[step]
