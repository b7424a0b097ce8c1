"""What is the same of a parameter, whole or sharded."""

from __future__ import annotations

# What shards, the DTensors around them and whole parameters have alike.
ALIKE = frozenset(
    {
        "device", "dim", "dtype", "element_size", "is_cuda", "is_floating_point", "ndim", "numel",
        "requires_grad", "shape", "size",
    }
)  # fmt: skip
