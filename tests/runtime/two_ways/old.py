"""FSDP1 under the names and signatures of the runtime, on the CPU.

What a program of `two_ways` gets as its vocabulary when it runs the old way; the new way gets
`fsdp_migrate.runtime` itself.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed.fsdp as fsdp
import torch.distributed.fsdp._flat_param as flat_param
import torch.distributed.fsdp._init_utils as init_utils
import torch.distributed.fsdp._optim_utils as optim_utils
import torch.distributed.fsdp.wrap as wrap
from torch import nn
from torch.distributed.checkpoint.optimizer import load_sharded_optimizer_state_dict

FSDP = fsdp.FullyShardedDataParallel


def shard(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """The constructor; `device_id` has to be the CPU, for there is nothing else."""
    kwargs.setdefault("use_orig_params", True)
    if len(args) < 9:
        kwargs.setdefault("device_id", torch.device("cpu"))
    return FSDP(module, *args, **kwargs)


def _method(name: str) -> Any:
    """An instance method of FSDP1 that takes the model first; plain modules have some, too."""
    return lambda model, *args, **kwargs: getattr(model, name)(*args, **kwargs)


OLD = SimpleNamespace(
    **{name: getattr(fsdp, name) for name in fsdp.__all__ if hasattr(fsdp, name)},
    **{name: getattr(wrap, name) for name in wrap.__all__},
    module_wrap_policy=wrap._module_wrap_policy,
    or_policy=wrap._or_policy,
    fully_shard_from_fsdp1=shard,
    no_sync=_method("no_sync"),
    clip_grad_norm_=_method("clip_grad_norm_"),
    is_root=_method("check_is_root"),
    model_state_dict=_method("state_dict"),
    load_model_state_dict=_method("load_state_dict"),
    load_sharded_optimizer_state_dict=load_sharded_optimizer_state_dict,
    **{
        name: getattr(FSDP, name)
        for name in (
            "summon_full_params",
            "state_dict_type",
            "set_state_dict_type",
            "get_state_dict_type",
            "fsdp_modules",
            "optim_state_dict",
            "optim_state_dict_to_load",
            "full_optim_state_dict",
            "sharded_optim_state_dict",
            "shard_full_optim_state_dict",
            "scatter_full_optim_state_dict",
            "flatten_sharded_optim_state_dict",
            "rekey_optim_state_dict",
        )
    },
)


def make_fsdp1_run_on_cpu() -> None:
    """FSDP1 takes it for granted that moving to the CPU copies. On the CPU it does not.

    Full state dicts and summoned parameters would free the only copy, and optimizer states would
    alias each other. Nothing that is compared depends on what is replaced here.
    """
    unflatten = optim_utils._unflatten_orig_param_states

    def never_offload(
        info: Any, out: Any, name: Any, shard_state: Any, to_save: Any, _: Any
    ) -> Any:
        return unflatten(info, out, name, shard_state, to_save, False)

    optim_utils._unflatten_orig_param_states = never_offload
    flat_param.FlatParamHandle.to_cpu = lambda self: contextlib.nullcontext()
    init_utils._check_module_states_for_sync_module_states = lambda states: None
    torch.cpu.Stream.synchronize = lambda self: None
    torch.Tensor.pin_memory = lambda self, *args: self
