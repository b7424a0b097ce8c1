"""What a reader of the recording has to know of the rehearsal."""

from __future__ import annotations

NOTES = {"rehearsed on CPU and gloo: CUDA kernels, NCCL and GPU memory were not exercised"}
