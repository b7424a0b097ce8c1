"""FSDP1 on a CPU: it insists on an accelerator, and a few places only work on one.

Patched under rehearsal alone.  Copying `.cpu()` (see `devices`) settles the places that rely on
the copy: full state dicts, `summon_full_params` and optimizer state dicts with offload.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
import torch.distributed.fsdp as fsdp
from torch.distributed.fsdp import _init_utils
from torch.distributed.fsdp._flat_param import FlatParamHandle

from fsdp_migrate.runtime.rehearse.devices import CPU
from fsdp_migrate.runtime.rehearse.patching import put


def install() -> None:
    """Let `FullyShardedDataParallel` run on the CPU as it does on a GPU."""
    init = fsdp.FullyShardedDataParallel.__init__
    signature = inspect.signature(init)
    prepare: Any = FlatParamHandle.prepare_gradient_for_backward

    @functools.wraps(init)
    def on_cpu(self: Any, *args: Any, **kwargs: Any) -> None:
        call = signature.bind(self, *args, **kwargs)
        call.arguments["device_id"] = CPU
        init(*call.args, **call.kwargs)

    def prepare_gradient_for_backward(self: Any) -> None:
        """With CPU offload on a GPU, a gradient that was reduced before is not added to."""
        flat = self.flat_param
        if self._offload_params and flat.grad is not None:
            reduced = flat.grad.size() == flat._local_shard.size()
            if reduced and flat.grad.size() != flat._unpadded_unsharded_size:
                flat.grad = None
                return
        prepare(self)

    gather: Any = FlatParamHandle._all_gather_flat_param

    @functools.wraps(gather)
    def all_gather_flat_param(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Into the parts of a tensor, which autograd minds; a GPU gathers into the whole."""
        with torch.no_grad():
            return gather(self, *args, **kwargs)

    put(fsdp.FullyShardedDataParallel, __init__=on_cpu)
    put(FlatParamHandle, _all_gather_flat_param=all_gather_flat_param)
    put(FlatParamHandle, prepare_gradient_for_backward=prepare_gradient_for_backward)
    # broadcasting CPU tensors is refused because NCCL cannot; gloo can
    put(_init_utils, _check_module_states_for_sync_module_states=lambda module_states: None)
