"""Arguments of FSDP1's constructor one by one, as `fully_shard` takes them.

For values that only the run knows: what a program shards stays plain `fully_shard` calls, and a
function of these says what the one value means. Each does for its argument what
`fully_shard_from_fsdp1` does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy

from fsdp_migrate.runtime.broadcast import broadcast_module_states
from fsdp_migrate.runtime.config import (
    CPUOffload,
    MixedPrecision,
    ShardingStrategy,
    own_strategy,
)
from fsdp_migrate.runtime.devices import accelerator, move_unit, resolve_device
from fsdp_migrate.runtime.grouping import PolicyObject, plan_units
from fsdp_migrate.runtime.ignored import States, resolve_ignored
from fsdp_migrate.runtime.meshes import GroupArgument, resolve_mesh
from fsdp_migrate.runtime.precision import cast_own_buffers, check_precision
from fsdp_migrate.runtime.tied import reject_ties
from fsdp_migrate.runtime.units import KEEP_AFTER_FORWARD


def sharding_kwargs(
    strategy: ShardingStrategy | str | None = None,
    process_group: GroupArgument = None,
    device_mesh: DeviceMesh | None = None,
    *,
    device_type: str | None = None,
) -> dict[str, Any]:
    """The `mesh` and `reshard_after_forward` that stand for a strategy (or its name) and its ranks.

    Every rank has to call it, in the same order.
    """
    own = own_strategy(strategy)
    device = torch.device(device_type) if device_type else resolve_device(None, ())
    mesh = resolve_mesh(own, process_group, device_mesh, device)
    return {"mesh": mesh, "reshard_after_forward": False if own in KEEP_AFTER_FORWARD else None}


def mp_policy_from_fsdp1(
    mixed_precision: MixedPrecision | None, *, root: bool = True
) -> MixedPrecisionPolicy:
    """The policy of the root, or of the units below it, whose inputs FSDP1 left as they were.

    Raises:
        NotImplementedError: for `keep_low_precision_grads=True`.
    """
    precision = mixed_precision or MixedPrecision()
    check_precision(precision)
    return MixedPrecisionPolicy(
        param_dtype=precision.param_dtype,
        reduce_dtype=precision.reduce_dtype,
        cast_forward_inputs=(
            precision.cast_root_forward_inputs if root else precision.cast_forward_inputs
        ),
    )


@torch.no_grad()
def cast_buffers_from_fsdp1(model: nn.Module, mixed_precision: MixedPrecision | None) -> None:
    """Cast the floating-point buffers of `model` to `buffer_dtype`, if there is one.

    Exempt modules that are units of their own keep the dtype of theirs.
    """
    if mixed_precision is None or mixed_precision.buffer_dtype is None:
        return
    exempt = tuple(mixed_precision._module_classes_to_ignore)
    for module in model.modules():
        own = module is not model and isinstance(module, FSDPModule)
        if not (own and isinstance(module, exempt)):
            cast_own_buffers(module, mixed_precision.buffer_dtype)


def offload_policy_from_fsdp1(cpu_offload: CPUOffload | None) -> OffloadPolicy:
    """`CPUOffloadPolicy()` if parameters are to be kept on the CPU."""
    if cpu_offload is None or not cpu_offload.offload_params:
        return OffloadPolicy()
    return CPUOffloadPolicy(pin_memory=accelerator() is not None)


def ignored_params_from_fsdp1(
    model: nn.Module,
    ignored_modules: Iterable[nn.Module] | None = None,
    ignored_states: States | None = None,
) -> set[nn.Parameter]:
    """The parameters that are left alone."""
    return resolve_ignored(model, ignored_modules, ignored_states)[1]


def units_from_policy(
    model: nn.Module,
    policy: PolicyObject | Callable[..., bool] | None,
    ignored_modules: Iterable[nn.Module] | None = None,
) -> list[nn.Module]:
    """The modules below `model` that a wrap policy makes units, children before their parents.

    What is sharded already is no unit again, and its parameters count as another unit's.

    Raises:
        ValueError: a parameter is tied across units.
        NotImplementedError: the policy has arguments of its own for some units.
    """
    if policy is None:
        return []
    modules, params = resolve_ignored(model, ignored_modules, None)
    planned = plan_units(model, policy, modules, params, {})
    if any(arguments for _, arguments in planned):
        raise NotImplementedError(
            "this policy gives units arguments of their own; give fully_shard_from_fsdp1 the policy"
        )
    units = [unit for unit, _ in planned if not isinstance(unit, FSDPModule)]
    units = [unit for unit in units if not _is_bare_container(unit)]
    reject_ties(model, units, params)
    return units


def _is_bare_container(module: nn.Module) -> bool:
    bare = isinstance(module, (nn.ModuleList, nn.ModuleDict))
    if not bare or type(module).forward is not nn.Module.forward:
        return False
    warnings.warn(
        f"{type(module).__name__} has no forward, so it is no unit of its own; what it holds is "
        "sharded with the unit around it",
        stacklevel=3,
    )
    return True


def sync_module_states(
    model: nn.Module, mesh: DeviceMesh | None = None, ignored_params: Iterable[nn.Parameter] = ()
) -> None:
    """Hand out the parameters and buffers of the first rank of `mesh`; before the sharding.

    Without a mesh, all ranks get them.  What is sharded already is left alone, and so are ignored
    parameters.
    """
    ignored = set(ignored_params)
    move_unit(model, resolve_device(None, model.parameters()), ignored, set())
    world = dist.distributed_c10d._get_default_group()
    for group in [world] if mesh is None else mesh.get_all_groups():
        if group.size() > 1:
            broadcast_module_states(model, group, ignored_params=ignored)
