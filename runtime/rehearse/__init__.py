"""Run an unmodified CUDA/NCCL program on CPU and gloo.

The program believes that it runs on GPUs: every CUDA device means the CPU, NCCL means gloo,
streams, events, memory statistics and pinned memory are stand-ins.  What has no counterpart on
a CPU raises `CannotRehearse` instead of giving numbers that mean nothing.
"""

from __future__ import annotations

import os

from fsdp_migrate.runtime.rehearse.errors import CannotRehearse
from fsdp_migrate.runtime.rehearse.notes import NOTES

__all__ = ["NOTES", "CannotRehearse", "prepare_environment", "start"]


def prepare_environment() -> None:
    """Set what has to be set before torch is loaded: one thread, reproducible matrix products."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # otherwise the bits of a matrix product depend on where its operands lie in memory
    os.environ.setdefault("MKL_CBWR", "COMPATIBLE")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def start(gpus: int) -> None:
    """Begin the rehearsal, for the rest of the process; call it before the program is imported."""
    import torch
    import torch._dynamo  # looks at the functions of torch when it is loaded

    from fsdp_migrate.runtime.rehearse import cuda, devices, fsdp1, groups, library, streams

    _split_into_nodes(gpus)
    torch.set_num_threads(1)
    cuda.install(gpus)
    streams.install()
    library.install()
    groups.install()
    fsdp1.install()
    devices.install()


def _split_into_nodes(gpus: int) -> None:
    """More ranks than devices: the ranks believe that they are on several nodes."""
    rank, ranks = (int(os.environ.get(f"LOCAL_{name}", 0)) for name in ("RANK", "WORLD_SIZE"))
    if ranks > gpus:
        os.environ["LOCAL_RANK"] = str(rank % gpus)
        os.environ["LOCAL_WORLD_SIZE"] = str(gpus)
        os.environ["GROUP_RANK"] = str(rank // gpus)
