"""FSDP1's constructor taken apart: plain `fully_shard` calls, with a function for each argument.

What a migrated program does with arguments that only the run knows, under the name of the
constructor, so that the programs of `two_ways` can be run with it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

import fsdp_migrate.runtime as runtime
from fsdp_migrate.runtime.devices import resolve_device
from fsdp_migrate.runtime.materialize import materialize_unit


def shard(
    model: nn.Module,
    process_group: Any = None,
    sharding_strategy: Any = None,
    cpu_offload: Any = None,
    auto_wrap_policy: Any = None,
    backward_prefetch: Any = None,
    mixed_precision: Any = None,
    ignored_modules: Any = None,
    param_init_fn: Any = None,
    device_id: Any = None,
    sync_module_states: bool = False,
    forward_prefetch: bool = False,
    limit_all_gathers: bool = True,
    use_orig_params: bool = True,
    ignored_states: Any = None,
    device_mesh: Any = None,
) -> nn.Module:
    """Shard as the code does that the constructor call becomes."""
    ignored = runtime.ignored_params_from_fsdp1(model, ignored_modules, ignored_states)
    kwargs = {
        **runtime.sharding_kwargs(sharding_strategy, process_group, device_mesh),
        "offload_policy": runtime.offload_policy_from_fsdp1(cpu_offload),
        "ignored_params": ignored,
    }
    if mixed_precision is not None and auto_wrap_policy is not None:
        exempt = MixedPrecisionPolicy(torch.float32, output_dtype=mixed_precision.param_dtype)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                fully_shard(module, **kwargs, mp_policy=exempt)
    device = resolve_device(None, ())
    for unit in runtime.units_from_policy(model, auto_wrap_policy, ignored_modules):
        materialize_unit(unit, param_init_fn, device, set(), set())
        if sync_module_states:
            runtime.sync_module_states(unit, kwargs["mesh"], ignored_params=ignored)
        inner = runtime.mp_policy_from_fsdp1(mixed_precision, root=False)
        fully_shard(unit, **kwargs, mp_policy=inner)
    materialize_unit(model, param_init_fn, device, set(), set())
    if sync_module_states:
        runtime.sync_module_states(model, kwargs["mesh"], ignored_params=ignored)
    fully_shard(model, **kwargs, mp_policy=runtime.mp_policy_from_fsdp1(mixed_precision))
    runtime.cast_buffers_from_fsdp1(model, mixed_precision)
    return model


APART = SimpleNamespace(
    **{
        **{name: getattr(runtime, name) for name in runtime.__all__},
        "fully_shard_from_fsdp1": shard,
    }
)
