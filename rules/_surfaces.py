"""What becomes of the constructor's parameters, and of the values that are given for them."""

from __future__ import annotations

from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.rule.rule import Surface

NATIVE = (Tier.NATIVE,)
EITHER = (Tier.NATIVE, Tier.SHIM)
SHIM = (Tier.SHIM,)
MANUAL = (Tier.MANUAL,)

_PARAMETERS = {
    "module": ("the module, sharded in place", EITHER),
    "process_group": ("`mesh=DeviceMesh.from_group(...)`", EITHER),
    "sharding_strategy": ("`reshard_after_forward=` and `mesh=`", EITHER),
    "cpu_offload": ("`offload_policy=`", EITHER),
    "auto_wrap_policy": ("a `fully_shard` call a unit", EITHER),
    "backward_prefetch": ("nothing: the order is the same", EITHER),
    "mixed_precision": ("`mp_policy=`, and a cast of the buffers", EITHER),
    "ignored_modules": ("`ignored_params=`", EITHER),
    "param_init_fn": ("each unit is materialised before it is sharded", EITHER),
    "device_id": ("nothing: units go to the mesh's device", EITHER),
    "sync_module_states": ("a broadcast by `set_model_state_dict`", EITHER),
    "forward_prefetch": ("nothing: values are the same", EITHER),
    "limit_all_gathers": ("nothing: FSDP2 needs no limit", EITHER),
    "use_orig_params": ("nothing: parameters are the original ones", EITHER),
    "ignored_states": ("`ignored_params=`", SHIM),
    "device_mesh": ("`mesh=`", EITHER),
}
CONSTRUCTOR = (
    Surface("FullyShardedDataParallel", "`fully_shard`", EITHER),
    *(
        Surface(f"FullyShardedDataParallel({name}=)", becomes, tiers)
        for name, (becomes, tiers) in _PARAMETERS.items()
    ),
)

_STATE_DICT_CONFIGS = (
    "FullOptimStateDictConfig",
    "FullStateDictConfig",
    "OptimStateDictConfig",
    "ShardedOptimStateDictConfig",
    "ShardedStateDictConfig",
    "StateDictConfig",
)
VALUES = (
    Surface("ShardingStrategy", "what the members become, or the shim's enum", EITHER),
    Surface("ShardingStrategy.FULL_SHARD", "the default", EITHER),
    Surface("ShardingStrategy.SHARD_GRAD_OP", "`reshard_after_forward=False`", EITHER),
    Surface("ShardingStrategy.NO_SHARD", "a mesh of (world, 1)", EITHER),
    Surface("ShardingStrategy.HYBRID_SHARD", "a mesh of two dimensions", EITHER),
    Surface(
        "ShardingStrategy._HYBRID_SHARD_ZERO2",
        "a mesh of two dimensions, `reshard_after_forward=False`",
        EITHER,
    ),
    Surface("BackwardPrefetch", "nothing: the order is the same", EITHER),
    Surface("BackwardPrefetch.BACKWARD_PRE", "nothing: the order is the same", EITHER),
    Surface("BackwardPrefetch.BACKWARD_POST", "nothing: values are the same", EITHER),
    Surface("CPUOffload", "`CPUOffloadPolicy`", EITHER),
    Surface("CPUOffload(offload_params=)", "`CPUOffloadPolicy` or no policy", EITHER),
    Surface("MixedPrecision", "`MixedPrecisionPolicy`", EITHER),
    Surface("MixedPrecision(param_dtype=)", "`param_dtype=`", EITHER),
    Surface("MixedPrecision(reduce_dtype=)", "`reduce_dtype=`", EITHER),
    Surface("MixedPrecision(buffer_dtype=)", "a cast of the buffers after sharding", EITHER),
    Surface(
        "MixedPrecision(keep_low_precision_grads=)",
        "an error of the shim where it is true: FSDP2 always steps in full precision",
        EITHER,
    ),
    Surface("MixedPrecision(cast_forward_inputs=)", "`cast_forward_inputs=` of the units", EITHER),
    Surface(
        "MixedPrecision(cast_root_forward_inputs=)", "`cast_forward_inputs=` of the root", EITHER
    ),
    Surface("MixedPrecision(_module_classes_to_ignore=)", "units of full precision", SHIM),
    Surface("StateDictType", "options of the calls, or the shim's enum", EITHER),
    Surface("StateDictType.FULL_STATE_DICT", "`StateDictOptions(full_state_dict=True)`", EITHER),
    Surface("StateDictType.SHARDED_STATE_DICT", "`StateDictOptions()`", EITHER),
    Surface("StateDictType.LOCAL_STATE_DICT", "no flat parameters: choose another type", MANUAL),
    *(Surface(name, "`StateDictOptions`", EITHER) for name in _STATE_DICT_CONFIGS),
    Surface("LocalStateDictConfig", "no flat parameters: choose another type", MANUAL),
    Surface("LocalOptimStateDictConfig", "no flat parameters: choose another type", MANUAL),
    Surface("StateDictSettings", "the shim's", SHIM),
    Surface("OptimStateKeyType", "the shim's", SHIM),
    Surface("OptimStateKeyType.PARAM_NAME", "the shim's", SHIM),
    Surface("OptimStateKeyType.PARAM_ID", "the shim's", SHIM),
    Surface("wrap.ModuleWrapPolicy", "`isinstance(module, classes)`", EITHER),
    Surface("wrap.transformer_auto_wrap_policy", "`isinstance(module, classes)`", EITHER),
    Surface("wrap.lambda_auto_wrap_policy", "`if predicate(module)`", EITHER),
    Surface("wrap.CustomPolicy", "the shim's", SHIM),
    Surface("wrap.always_wrap_policy", "the shim's", SHIM),
    Surface("wrap.size_based_auto_wrap_policy", "the shim's", SHIM),
    Surface("wrap.enable_wrap", "the shim's", SHIM),
    Surface("wrap.wrap", "the shim's", SHIM),
)
