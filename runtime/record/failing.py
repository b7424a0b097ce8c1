"""Tells errors of the recorder from those of the program that it records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch.distributed as dist

from fsdp_migrate.runtime.record.blame import AFTERMATH
from fsdp_migrate.runtime.record.snapshot import OutOfStep


class RecorderFailed(RuntimeError):
    """What the recorder does for itself went wrong; the program may be right."""


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
    """Say of an error inside that it is the recorder's, unless ranks have gone astray."""
    try:
        yield
    except (RecorderFailed, OutOfStep, dist.DistError):
        raise
    except Exception as error:
        if AFTERMATH.search(str(error)):  # another rank has failed, and says why
            raise
        raise RecorderFailed(f"the recorder failed: {type(error).__name__}: {error}") from error
