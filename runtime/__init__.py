"""What migrated programs may import: FSDP1's vocabulary, carried out by FSDP2.

Each name has the signature, members and defaults that it has in `torch.distributed.fsdp` (or in
`torch.distributed.fsdp.wrap`); static and instance methods of `FullyShardedDataParallel` are
functions that take the model first. Depends on torch alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fsdp_migrate.runtime.autowrap import enable_wrap, wrap
from fsdp_migrate.runtime.broadcast import broadcast_module_states
from fsdp_migrate.runtime.clip import clip_grad_norm_
from fsdp_migrate.runtime.config import (
    BackwardPrefetch,
    CPUOffload,
    FullOptimStateDictConfig,
    FullStateDictConfig,
    LocalOptimStateDictConfig,
    LocalStateDictConfig,
    MixedPrecision,
    OptimStateDictConfig,
    OptimStateKeyType,
    ShardedOptimStateDictConfig,
    ShardedStateDictConfig,
    ShardingStrategy,
    StateDictConfig,
    StateDictSettings,
    StateDictType,
)
from fsdp_migrate.runtime.copies import copy_module
from fsdp_migrate.runtime.full_params import summon_full_params
from fsdp_migrate.runtime.grad_scaler import ShardedGradScaler
from fsdp_migrate.runtime.introspect import fsdp_modules, is_root
from fsdp_migrate.runtime.optim_legacy import (
    flatten_sharded_optim_state_dict,
    full_optim_state_dict,
    rekey_optim_state_dict,
    scatter_full_optim_state_dict,
    shard_full_optim_state_dict,
    sharded_optim_state_dict,
)
from fsdp_migrate.runtime.optim_load import load_optim_state_dict, optim_state_dict_to_load
from fsdp_migrate.runtime.optim_sharded_load import load_sharded_optimizer_state_dict
from fsdp_migrate.runtime.optim_state import optim_state_dict
from fsdp_migrate.runtime.policies import (
    CustomPolicy,
    ModuleWrapPolicy,
    always_wrap_policy,
    lambda_auto_wrap_policy,
    module_wrap_policy,
    or_policy,
    size_based_auto_wrap_policy,
    transformer_auto_wrap_policy,
)
from fsdp_migrate.runtime.residues import (
    cast_buffers_from_fsdp1,
    ignored_params_from_fsdp1,
    mp_policy_from_fsdp1,
    offload_policy_from_fsdp1,
    sharding_kwargs,
    sync_module_states,
    units_from_policy,
)
from fsdp_migrate.runtime.settings import get_state_dict_type, set_state_dict_type, state_dict_type
from fsdp_migrate.runtime.shard import fully_shard_from_fsdp1
from fsdp_migrate.runtime.state_dicts import load_model_state_dict, model_state_dict
from fsdp_migrate.runtime.sync import no_sync

if TYPE_CHECKING:
    from fsdp_migrate.runtime.testing import assert_trains_identically as assert_trains_identically

__all__ = [
    "BackwardPrefetch",
    "CPUOffload",
    "CustomPolicy",
    "FullOptimStateDictConfig",
    "FullStateDictConfig",
    "LocalOptimStateDictConfig",
    "LocalStateDictConfig",
    "MixedPrecision",
    "ModuleWrapPolicy",
    "OptimStateDictConfig",
    "OptimStateKeyType",
    "ShardedGradScaler",
    "ShardedOptimStateDictConfig",
    "ShardedStateDictConfig",
    "ShardingStrategy",
    "StateDictConfig",
    "StateDictSettings",
    "StateDictType",
    "always_wrap_policy",
    "broadcast_module_states",
    "cast_buffers_from_fsdp1",
    "clip_grad_norm_",
    "copy_module",
    "enable_wrap",
    "flatten_sharded_optim_state_dict",
    "fsdp_modules",
    "full_optim_state_dict",
    "fully_shard_from_fsdp1",
    "get_state_dict_type",
    "ignored_params_from_fsdp1",
    "is_root",
    "lambda_auto_wrap_policy",
    "load_model_state_dict",
    "load_optim_state_dict",
    "load_sharded_optimizer_state_dict",
    "model_state_dict",
    "module_wrap_policy",
    "mp_policy_from_fsdp1",
    "no_sync",
    "offload_policy_from_fsdp1",
    "optim_state_dict",
    "optim_state_dict_to_load",
    "or_policy",
    "rekey_optim_state_dict",
    "scatter_full_optim_state_dict",
    "set_state_dict_type",
    "shard_full_optim_state_dict",
    "sharded_optim_state_dict",
    "sharding_kwargs",
    "size_based_auto_wrap_policy",
    "state_dict_type",
    "summon_full_params",
    "sync_module_states",
    "transformer_auto_wrap_policy",
    "units_from_policy",
    "wrap",
]


def __getattr__(name: str) -> object:
    """`assert_trains_identically`, loaded when it is asked for: jobs don't need the harness."""
    if name == "assert_trains_identically":
        from fsdp_migrate.runtime.testing import assert_trains_identically

        return assert_trains_identically
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
