"""Counts collectives between optimizer steps, apart for forward, backward and checkpoints.

With order-independent reductions, sums over ranks are computed in rank order: gathered and
then added.  The bits of a sum then depend neither on the algorithm of the collective nor on the
place of an element in the message, which differs between flat and per-parameter layouts.

What saving and loading gather is counted apart: FSDP1 gathers whole units for a state dict, of
which FSDP2 gathers nothing or one parameter at a time, and neither is part of a step of training.
So is what a program does beside it: `summon_full_params`, `full_tensor()`, metrics, norms.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
import torch.distributed._functional_collectives as functional
from torch import Tensor
from torch.distributed import distributed_c10d as c10d

from fsdp_migrate.runtime.record.reductions import Reductions
from fsdp_migrate.runtime.rehearse.patching import Rebinding

KINDS = {
    "all_gather": "all-gather",
    "all_gather_into_tensor": "all-gather",
    "all_gather_single": "all-gather",
    "_all_gather_base": "all-gather",
    "all_gather_coalesced": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "reduce_scatter_tensor": "reduce-scatter",
    "reduce_scatter_single": "reduce-scatter",
    "_reduce_scatter_base": "reduce-scatter",
    "all_reduce": "all-reduce",
    "all_reduce_coalesced": "all-reduce",
    "broadcast": "broadcast",
    "reduce": "reduce",
    "gather": "gather",
    "scatter": "scatter",
    "all_to_all": "all-to-all",
    "all_to_all_single": "all-to-all",
    "send": "send",
    "isend": "send",
    "all_gather_object": "object",
    "broadcast_object_list": "object",
    "gather_object": "object",
    "scatter_object_list": "object",
    "barrier": "barrier",
    "monitored_barrier": "barrier",
}
FUNCTIONAL = {
    "all_gather_single": "all-gather",
    "all_gather_tensor": "all-gather",
    "all_gather_into_tensor_coalesced": "all-gather",
    "reduce_scatter_single": "reduce-scatter",
    "reduce_scatter_tensor": "reduce-scatter",
    "reduce_scatter_tensor_coalesced": "reduce-scatter",
    "all_reduce": "all-reduce",
    "all_reduce_coalesced": "all-reduce",
    "broadcast": "broadcast",
    "all_to_all_single": "all-to-all",
}
# Files whose functions make, save and load state dicts.
_CHECKPOINTS = (
    "/torch/distributed/checkpoint/",
    "/torch/distributed/fsdp/_optim_utils.py",
    "/torch/distributed/fsdp/_state_dict_utils.py",
    "/fsdp_migrate/runtime/optim_",
    "/fsdp_migrate/runtime/state_dicts.py",
)
# Files whose functions gather whole parameters for the program.
_WHOLE = (
    "/torch/distributed/fsdp/_unshard_param_utils.py",
    "/fsdp_migrate/runtime/full_params.py",
    "/fsdp_migrate/runtime/whole_unit.py",
)
_FSDP = "/torch/distributed/fsdp/"


class Meter:
    """Number and bytes of collectives since it was read last."""

    def __init__(self) -> None:
        self.backward = False
        self._silent = 0
        self._tally: dict[str, tuple[int, int]] = {}

    def install(self, *, deterministic: bool) -> None:
        """Count from now on, in this process."""
        reductions = Reductions() if deterministic else None
        rebinding = Rebinding()
        for name, kind in KINDS.items():
            make = functools.partial(
                self._counted, kind=kind, reduce=reductions.of(name) if reductions else None
            )
            rebinding.replace(c10d, name, make)
        for name, kind in FUNCTIONAL.items():
            reduce = reductions.functional(name) if reductions else None
            make = functools.partial(self._counted, kind=kind, reduce=reduce, both=True)
            rebinding.replace(functional, name, make)
        rebinding.apply()

    def read(self) -> dict[str, tuple[int, int]]:
        """What was counted, by phase and kind; starts again from zero."""
        tally, self._tally = self._tally, {}
        return tally

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """Do not count what happens inside."""
        self._silent += 1
        try:
            yield
        finally:
            self._silent -= 1

    def _counted(
        self,
        original: Callable[..., Any],
        kind: str,
        reduce: Callable[..., Any] | None,
        both: bool = False,
    ) -> Callable[..., Any]:
        """`original` with a count; one that torch builds on another counts once."""
        function = functools.partial(reduce, original) if reduce else original

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                return original(*args, **kwargs)
            if self._silent:
                return function(*args, **kwargs)
            with self.silence():
                result = function(*args, **kwargs)
            values = [*args, *kwargs.values(), *((result,) if both else ())]
            self._add(kind, max(map(_bytes, values), default=0))
            return result

        return call

    def _add(self, kind: str, size: int) -> None:
        key = f"{_phase(backward=self.backward)} {kind}"
        count, total = self._tally.get(key, (0, 0))
        self._tally[key] = (count + 1, total + size)


def _phase(*, backward: bool) -> str:
    """Forward and backward are what sharding does by itself; the rest is asked for."""
    sharding = asked_for = False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename.replace("\\", "/")
        if any(part in name for part in _CHECKPOINTS):
            return "checkpoint"
        whole = any(part in name for part in _WHOLE)
        asked_for = asked_for or whole or _is_unshard(name, frame.f_code.co_name)
        sharding = sharding or _FSDP in name
        frame = frame.f_back
    if asked_for or not sharding:
        return "aside"
    return "backward" if backward else "forward"


def _is_unshard(file: str, function: str) -> bool:
    """Whether this is the method of a model, which only the program calls."""
    return function == "unshard" and file.endswith("/_fully_shard/_fully_shard.py")


def _bytes(value: Any) -> int:
    """The size of a tensor or of a list of tensors."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes, value))
    return 0
