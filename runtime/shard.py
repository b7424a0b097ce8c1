"""`fully_shard_from_fsdp1`: FSDP1's constructor, carried out by FSDP2.

Source: torch/distributed/fsdp/fully_sharded_data_parallel.py and _init_utils.py;
https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, fully_shard

from fsdp_migrate.runtime.broadcast import broadcast_tensors
from fsdp_migrate.runtime.config import (
    BackwardPrefetch,
    CPUOffload,
    MixedPrecision,
    ShardingStrategy,
    own_strategy,
)
from fsdp_migrate.runtime.devices import move_unit, resolve_device
from fsdp_migrate.runtime.grouping import plan_units
from fsdp_migrate.runtime.ignored import States, resolve_ignored
from fsdp_migrate.runtime.materialize import materialize_unit
from fsdp_migrate.runtime.meshes import GroupArgument, resolve_mesh
from fsdp_migrate.runtime.precision import (
    check_precision,
    compute_in_float32,
    precision_policy,
)
from fsdp_migrate.runtime.prefetch import set_prefetching
from fsdp_migrate.runtime.root_hook import install_root_hook
from fsdp_migrate.runtime.tied import reject_ties
from fsdp_migrate.runtime.units import HYBRID, FsdpUnit, own_modules, register, sharded_modules
from fsdp_migrate.runtime.unused import give_zero_gradients


def fully_shard_from_fsdp1(
    module: nn.Module,
    process_group: GroupArgument = None,
    sharding_strategy: ShardingStrategy | None = None,
    cpu_offload: CPUOffload | None = None,
    auto_wrap_policy: Callable[..., Any] | Any | None = None,
    backward_prefetch: BackwardPrefetch | None = BackwardPrefetch.BACKWARD_PRE,
    mixed_precision: MixedPrecision | None = None,
    ignored_modules: Iterable[nn.Module] | None = None,
    param_init_fn: Callable[[nn.Module], None] | None = None,
    device_id: int | torch.device | None = None,
    sync_module_states: bool = False,
    forward_prefetch: bool = False,
    limit_all_gathers: bool = True,
    use_orig_params: bool = False,
    ignored_states: States | None = None,
    device_mesh: DeviceMesh | None = None,
) -> nn.Module:
    """Shard `module` in place as `FullyShardedDataParallel(module, ...)` would have done.

    Units, their order, initial values, strategies, precision and collectives are FSDP1's. What is
    different is FSDP2's nature: the same object comes back (its class becomes a subclass of its
    own), parameters become DTensors, so optimizers have to be built afterwards.

    `limit_all_gathers` has no counterpart and is ignored. With `use_orig_params=True` the new
    parameters get the attributes that were set on the old ones. A module that is sharded already
    is returned as it is; so are bare containers without a `forward` (`nn.ModuleList`,
    `nn.ModuleDict`), with a warning, for FSDP2 refuses them: what they hold goes to the unit
    around them. On one rank nothing is communicated. A hybrid strategy whose shard groups have one
    rank reduces gradients over the replicas; FSDP1 forgot to. Evaluation is in low precision even
    under `FSDP_USE_FULL_PREC_IN_EVAL`, with a warning.

    Raises:
        ValueError: arguments that FSDP1 refused (both kinds of ignored states, group and mesh,
            a hybrid strategy without policy, group and mesh, nested units under a policy), or
            parameters tied across units.
        NotImplementedError: `keep_low_precision_grads=True`.
    """
    if isinstance(module, FSDPModule):
        return module
    precision = mixed_precision or MixedPrecision()
    check_precision(precision)
    modules, params = resolve_ignored(module, ignored_modules, ignored_states)
    unit = FsdpUnit(own_strategy(sharding_strategy), precision, modules, params)
    hybrid = unit.strategy in HYBRID
    if hybrid and process_group is None and device_mesh is None and auto_wrap_policy is None:
        raise ValueError(
            f"{unit.strategy} without auto_wrap_policy needs process_group or device_mesh, so that "
            "all units use the same groups"
        )
    device = resolve_device(device_id, (p for p in module.parameters() if p not in params))
    mesh = resolve_mesh(unit.strategy, process_group, device_mesh, device)
    if auto_wrap_policy is not None:
        inherited = {
            "process_group": None if hybrid else process_group,
            "sharding_strategy": sharding_strategy,
            "cpu_offload": cpu_offload,
            "backward_prefetch": backward_prefetch,
            "mixed_precision": mixed_precision,
            "param_init_fn": param_init_fn,
            "device_id": device_id,
            "sync_module_states": sync_module_states,
            "forward_prefetch": forward_prefetch,
            "use_orig_params": use_orig_params,
            "ignored_states": params,
            "device_mesh": mesh if hybrid else device_mesh,
        }
        _shard_children(module, auto_wrap_policy, unit, inherited)
    if _is_bare_container(module):
        return module
    materialize_unit(module, param_init_fn, device, modules, params)
    move_unit(module, device, params, modules)
    if sync_module_states:
        _synchronise(module, mesh, params)
    _shard_unit(module, unit, mesh, cpu_offload, use_orig_params)
    set_prefetching(module, backward_prefetch, forward_prefetch)
    return module


def _copy_attributes(old: Iterable[nn.Parameter], new: Iterable[nn.Parameter]) -> None:
    """Set on the new parameters what a program has set on the old ones: `p.lr_mult = 0.1`."""
    for before, after in zip(old, new, strict=True):
        if after is not before:
            vars(after).update(vars(before))


def _shard_children(
    module: nn.Module, policy: Any, unit: FsdpUnit, inherited: dict[str, Any]
) -> None:
    """Make units of what the policy chooses below `module`, each by FSDP1's constructor again."""
    if sharded_modules(module):
        raise ValueError(
            "auto_wrap_policy needs a module without sharded units inside, but "
            f"{type(module).__name__} has some"
        )
    mixed = inherited["mixed_precision"] is not None
    exempt = tuple(unit.precision._module_classes_to_ignore) if mixed else ()
    plan = plan_units(module, policy, unit.ignored_modules, unit.ignored_params, inherited, exempt)
    plan = [(child, own) for child, own in plan if not _is_bare_container(child)]
    reject_ties(module, [child for child, _ in plan], unit.ignored_params)
    for part in module.modules():
        if isinstance(part, exempt):
            compute_in_float32(part)
    for child, own in plan:
        fully_shard_from_fsdp1(child, **own)


def _is_bare_container(module: nn.Module) -> bool:
    bare = isinstance(module, (nn.ModuleList, nn.ModuleDict))
    if not bare or type(module).forward is not nn.Module.forward:
        return False
    warnings.warn(
        f"{type(module).__name__} has no forward, so it is not made a unit of its own; what it "
        "holds is sharded with the unit around it",
        stacklevel=3,
    )
    return True


def _synchronise(module: nn.Module, mesh: DeviceMesh, ignored: set[nn.Parameter]) -> None:
    """Rank 0's values for all: between nodes first, then inside, as FSDP1 ordered it."""
    owned = (p for m in own_modules(module) for p in m.parameters(recurse=False))
    params = dict.fromkeys(p for p in owned if p not in ignored)
    for dim in range(mesh.ndim):
        if mesh.size(dim) > 1:
            broadcast_tensors([*module.buffers(), *params], mesh.get_group(dim))


def _shard_unit(
    module: nn.Module,
    unit: FsdpUnit,
    mesh: DeviceMesh,
    cpu_offload: CPUOffload | None,
    keeps_attributes: bool,
) -> None:
    kwargs: dict[str, Any] = {"mesh": mesh, "mp_policy": precision_policy(unit.precision)}
    if unit.keeps_weights_after_forward:
        kwargs["reshard_after_forward"] = False
    if unit.ignored_params:
        kwargs["ignored_params"] = unit.ignored_params
    if cpu_offload is not None and cpu_offload.offload_params:
        kwargs["offload_policy"] = CPUOffloadPolicy(pin_memory=mesh.device_type != "cpu")
    old = list(module.parameters())
    fully_shard(module, **kwargs)
    if keeps_attributes:
        _copy_attributes(old, module.parameters())
    register(module, unit)
    install_root_hook(module, unit)
    give_zero_gradients(module)
