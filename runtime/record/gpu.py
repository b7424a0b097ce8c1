"""What a recorder asks of a rank's GPU; nothing here starts CUDA before the program does.

A rank that starts CUDA early takes memory of the first device, can no longer fork, and changes
which device a mesh chooses for a program that never names its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

_BY_DRIVER = "PYTORCH_NVML_BASED_CUDA_CHECK"  # the way to ask that leaves a process able to fork


def available() -> bool:
    """Whether there is a CUDA device."""
    before = os.environ.get(_BY_DRIVER)
    os.environ[_BY_DRIVER] = "1"
    try:
        return torch.cuda.is_available()
    finally:
        if before is None:
            del os.environ[_BY_DRIVER]
        else:
            os.environ[_BY_DRIVER] = before


def _started() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


class Gpu:
    """Name, time and memory of the device that this process uses."""

    def __init__(self) -> None:
        self._peak = 0
        self._left = 0  # the peak when the recorder had done its work

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name() if _started() else "CUDA, unused"

    @property
    def cuda(self) -> str:
        return torch.version.cuda or ""

    @property
    def nccl(self) -> str:
        if not torch.distributed.is_nccl_available():
            return ""
        return ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]

    def settle(self) -> None:
        """Wait for what was started, so that the clock can be read."""
        if _started():
            torch.cuda.synchronize()

    def enter(self) -> None:
        """The recorder begins its work: a peak that moved since it ended is the program's."""
        peak = torch.cuda.max_memory_allocated()
        if peak != self._left:
            self._peak = max(self._peak, peak)

    def leave(self) -> None:
        """The recorder has done its work, which may have raised the peak."""
        self._left = torch.cuda.max_memory_allocated()

    @property
    def peak(self) -> int:
        """The peak of allocated memory that the program itself is known to have caused."""
        return self._peak

    def of(self, tensors: Iterable[Tensor]) -> AbstractContextManager[object]:
        """Makes the device of these tensors the current one, which a program may never do."""
        for tensor in tensors:
            if tensor.device.type == "cuda":
                return torch.cuda.device(tensor.device)
        return contextlib.nullcontext()
