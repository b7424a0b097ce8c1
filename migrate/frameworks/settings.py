"""What the frameworks around FSDP call things, in Python and in configuration files alike."""

from __future__ import annotations

from fsdp_migrate.findings.code import Code, Name, call, code, qualified

# In the order of their numbers, which Accelerate takes as well: 1 to 5.
STRATEGIES = ("FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD", "HYBRID_SHARD_ZERO2")
HYBRID = frozenset({"HYBRID_SHARD", "HYBRID_SHARD_ZERO2"})
RESHARD = {
    "FULL_SHARD": True,
    "SHARD_GRAD_OP": False,
    "HYBRID_SHARD": True,
    "HYBRID_SHARD_ZERO2": False,
}
# The numbers of `StateDictType`, which Accelerate takes as well.
STATE_DICT_TYPES = {1: "FULL_STATE_DICT", 2: "LOCAL_STATE_DICT", 3: "SHARDED_STATE_DICT"}
# Settings that FSDP2 doesn't have, and why they need no other.
DROPPED_SETTINGS = {
    "backward_prefetch": "FSDP2 always prefetches as BACKWARD_PRE did",
    "backward_prefetch_policy": "FSDP2 always prefetches as BACKWARD_PRE did",
    "forward_prefetch": "there is no such setting for FSDP2 (it is about speed)",
    "limit_all_gathers": "FSDP2 has no such setting (it is about speed)",
    "sync_module_states": "FSDP2 has no such setting",
    "use_orig_params": "FSDP2 always has the original parameters",
}
_DEVICES = code("{count}()", count=qualified("torch.cuda.device_count"))
_NODES = code(
    'int({environ}["WORLD_SIZE"]) // {devices}', environ=qualified("os.environ"), devices=_DEVICES
)
# Hybrid sharding as FSDP1 does it: inside a node, by the number of devices there.
PARALLELISM: Code = call(
    Name("accelerate", "ParallelismConfig"), dp_replicate_size=_NODES, dp_shard_size=_DEVICES
)
# The words that `fsdp` of Transformers takes.
OPTIONS = frozenset(name.lower() for name in STRATEGIES) | {"offload", "auto_wrap"}
# The settings of its `fsdp_config`, which may have `fsdp_` in front.
CONFIG_KEYS = frozenset(
    {
        "activation_checkpointing",
        "auto_wrap_policy",
        "cpu_offload",
        "cpu_ram_efficient_loading",
        "min_num_params",
        "offload_params",
        "reshard_after_forward",
        "sharding_strategy",
        "state_dict_type",
        "transformer_layer_cls_to_wrap",
        "version",
        "xla",
        "xla_fsdp_grad_ckpt",
        "xla_fsdp_settings",
        "xla_fsdp_v2",
        *DROPPED_SETTINGS,
    }
)

BROADCAST = (
    "FSDP2 sends rank 0's weights to the others only with cpu_ram_efficient_loading, so without it "
    "every rank has to start from the same ones"
)
BUFFERS = "buffers are no longer cast to the low precision"
RANDOM_STATE = (
    "Accelerate's FSDP2 checkpoints activations without keeping the random state, so dropout "
    "draws other masks in the recomputation"
)
SIZE_BASED = (
    "size-based wrapping means other units in Accelerate's FSDP2, which tries to shard a "
    "ModuleList too and fails; wrap by transformer_based_wrap and the names of the layer classes"
)
NO_WRAP_CHECKPOINTING = (
    "Accelerate's FSDP2 checkpoints the units of the wrap policy, and fails where there is none; "
    "give it transformer_based_wrap and the names of the layer classes"
)
LOCAL_STATE_DICT = "FSDP2 has no LOCAL_STATE_DICT; save a sharded or a full state dict instead"


def strategy(value: object) -> str | None:
    """The sharding strategy that a number or a name in any case stands for, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        name = value.strip().upper().removeprefix("SHARDINGSTRATEGY.").removeprefix("_")
        if name in STRATEGIES:
            return name
        value = int(name) if name.isdecimal() else None
    if isinstance(value, int) and 1 <= value <= len(STRATEGIES):
        return STRATEGIES[value - 1]
    return None


def state_dict_type(value: object) -> str | None:
    """The kind of state dict that a number or a name in any case stands for, or None."""
    if isinstance(value, str):
        name = value.strip().upper().removeprefix("STATEDICTTYPE.")
        if name in STATE_DICT_TYPES.values():
            return name
        value = int(name) if name.isdecimal() else None
    return STATE_DICT_TYPES.get(value) if isinstance(value, int) else None


def words_of(value: object) -> list[str] | None:
    """The words of `fsdp`; none if it is off, None if they are not what `fsdp` takes."""
    if isinstance(value, list):
        parts = [words_of(item) for item in value]
        return None if None in parts else [w for part in parts if part for w in part]
    if value is True:
        return ["full_shard", "any_wrap"]
    if value is None or value is False:
        return []
    words = str(value).lower().split()
    return words if set(words) <= OPTIONS else None


def truth(value: object) -> bool | None:
    """What a flag says, written as a boolean or as a word; None if it is neither."""
    if value is None or isinstance(value, bool):
        return bool(value)
    word = str(value).strip().lower()
    if word in {"true", "yes", "y", "t", "on", "1"}:
        return True
    return False if word in {"false", "no", "n", "f", "off", "0"} else None


def sentences(*parts: str) -> str:
    """A message out of parts, without a full stop."""
    return "; ".join(part for part in parts if part)
