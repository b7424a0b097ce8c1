"""FSDP1's names: what they are called, wherever they are imported from."""

from __future__ import annotations

ROOT = "torch.distributed.fsdp"
FSDP1 = f"{ROOT}.FullyShardedDataParallel"
SHARDED_GRAD_SCALER = f"{ROOT}.sharded_grad_scaler.ShardedGradScaler"

# Modules that spell names which `torch.distributed.fsdp` exports.
_HOMES = (f"{ROOT}.fully_sharded_data_parallel.", f"{ROOT}.api.")

CONFIGS = frozenset(
    {
        "BackwardPrefetch",
        "CPUOffload",
        "FullOptimStateDictConfig",
        "FullStateDictConfig",
        "LocalOptimStateDictConfig",
        "LocalStateDictConfig",
        "MixedPrecision",
        "OptimStateDictConfig",
        "OptimStateKeyType",
        "ShardedOptimStateDictConfig",
        "ShardedStateDictConfig",
        "ShardingStrategy",
        "StateDictConfig",
        "StateDictSettings",
        "StateDictType",
    }
)
FSDP2 = frozenset(
    {
        "CPUOffloadPolicy",
        "DataParallelMeshDims",
        "FSDPModule",
        "MixedPrecisionPolicy",
        "OffloadPolicy",
        "UnshardHandle",
        "fully_shard",
        "register_fsdp_forward_method",
        "share_comm_ctx",
        "_fully_shard",
    }
)
POLICIES = frozenset(
    {
        "CustomPolicy",
        "ModuleWrapPolicy",
        "always_wrap_policy",
        "enable_wrap",
        "lambda_auto_wrap_policy",
        "size_based_auto_wrap_policy",
        "transformer_auto_wrap_policy",
        "wrap",
    }
)
# What `from MODULE import *` brings in.
STARS = {
    ROOT: CONFIGS | FSDP2 | {"FullyShardedDataParallel", "FlatParameter"},
    f"{ROOT}.wrap": POLICIES,
    f"{ROOT}.api": CONFIGS - {"OptimStateKeyType"},
    f"{ROOT}.fully_sharded_data_parallel": frozenset(
        {"FullyShardedDataParallel", "OptimStateKeyType"}
    ),
    f"{ROOT}.sharded_grad_scaler": frozenset({"ShardedGradScaler"}),
}


def starred(module: str | None, name: str) -> str | None:
    """The canonical name of what a star import of `module` binds to `name`, if it does."""
    return canonical(f"{module}.{name}") if name in STARS.get(module or "", ()) else None


def canonical(name: str) -> str:
    """The one spelling of a library name that the rules look for."""
    for home in _HOMES:
        if name.startswith(home):
            return f"{ROOT}.{name[len(home) :]}"
    if name.startswith("torch.distributed._composable.fsdp."):
        return f"{ROOT}.{name.rpartition('.')[2]}"
    if name.startswith(("torch.cuda.amp.", "torch.amp.")):
        return name
    return name


def is_fsdp1(name: str) -> bool:
    """Whether a canonical name belongs to FSDP1 (modules included)."""
    if not name.startswith(f"{ROOT}."):
        return False
    return name[len(ROOT) + 1 :].split(".")[0] not in FSDP2


def short(name: str) -> str:
    """The last part of a dotted name."""
    return name.rpartition(".")[2]
