"""What each parameter of FSDP1's constructor becomes, a module for each or for a few."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.lowering.arguments.auto_wrap_policy import lower_auto_wrap_policy
from fsdp_migrate.lowering.arguments.cpu_offload import lower_cpu_offload
from fsdp_migrate.lowering.arguments.device_and_mesh import (
    lower_device_id,
    lower_device_mesh,
    lower_process_group,
)
from fsdp_migrate.lowering.arguments.ignored import lower_ignored_modules, lower_ignored_states
from fsdp_migrate.lowering.arguments.initial_weights import (
    lower_param_init_fn,
    lower_sync_module_states,
)
from fsdp_migrate.lowering.arguments.mixed_precision import lower_mixed_precision
from fsdp_migrate.lowering.arguments.sharding_strategy import lower_sharding_strategy
from fsdp_migrate.lowering.wrap_plan import Parts
from fsdp_migrate.lowering.wrap_site import WrapSite

Lowering = Callable[[WrapSite, Argument, Parts], Parts]


def nothing(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """FSDP2 does it by itself, or has no need of it, whatever the value."""
    return parts


LOWERINGS: Mapping[str, Lowering] = {
    "module": nothing,
    "process_group": lower_process_group,
    "sharding_strategy": lower_sharding_strategy,
    "cpu_offload": lower_cpu_offload,
    "auto_wrap_policy": lower_auto_wrap_policy,
    "backward_prefetch": nothing,
    "mixed_precision": lower_mixed_precision,
    "ignored_modules": lower_ignored_modules,
    "param_init_fn": lower_param_init_fn,
    "device_id": lower_device_id,
    "sync_module_states": lower_sync_module_states,
    "forward_prefetch": nothing,
    "limit_all_gathers": nothing,
    "use_orig_params": nothing,
    "ignored_states": lower_ignored_states,
    "device_mesh": lower_device_mesh,
}
