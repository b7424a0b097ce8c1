"""Classes of FSDP1 that a configuration or a script names by their path, to have them made.

Hydra's `_target_`, a `class_path`, an override on a command line, a line of Python in a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.syntax.fsdp1_names import FSDP2, ROOT

CODE = "FSDP622"
_PATH = re.compile(
    rf"\b{re.escape(ROOT)}((?:\.\w+)*)(?:\s+import\s+([\w, *]+))?|"
    r"\baccelerate(?:\.\w+)*\.(FullyShardedDataParallelPlugin)\b"
)
_SHARD = (
    "write a function of yours that calls fully_shard on the units and then on the model, and "
    "returns the model, and name it here"
)
_ADVICE = {
    "FullyShardedDataParallel": (
        "write torch.distributed.fsdp.fully_shard, with reshard_after_forward: false for "
        "SHARD_GRAD_OP, mp_policy for mixed_precision, offload_policy for cpu_offload, and no "
        f"other setting; if it has an auto_wrap_policy, or sync_module_states, {_SHARD}"
    ),
    "FullyShardedDataParallelPlugin": (
        "it is FSDP1 without fsdp_version: 2; with it, reshard_after_forward stands for "
        "sharding_strategy, and state_dict_type: FULL_STATE_DICT has to be said"
    ),
    "MixedPrecision": (
        "write torch.distributed.fsdp.MixedPrecisionPolicy with param_dtype and reduce_dtype, and "
        "give it as mp_policy; cast buffers yourself where buffer_dtype says so"
    ),
    "CPUOffload": (
        "write torch.distributed.fsdp.CPUOffloadPolicy without arguments, and give it as "
        "offload_policy; leave both out where offload_params is false"
    ),
    "ShardingStrategy": (
        "give fully_shard reshard_after_forward: false for SHARD_GRAD_OP, nothing for FULL_SHARD, "
        'and a mesh of ("replicate", "shard") for hybrid sharding'
    ),
    "BackwardPrefetch": "leave it out: FSDP2 always prefetches as BACKWARD_PRE did",
    "StateDictType": (
        "state dicts are those of torch.distributed.checkpoint.state_dict, with "
        "StateDictOptions(full_state_dict=True) for FULL_STATE_DICT"
    ),
    "ShardedGradScaler": "write torch.amp.GradScaler",
}
_POLICY = f"FSDP2 takes no wrap policy: {_SHARD}"
_OTHER = "FSDP2 has nothing of that name; say by fully_shard what it is for"


def listed(lines: Sequence[str], path: Path) -> Iterator[Finding]:
    """The places that name a class of FSDP1."""
    new = any("fsdp_version" in line and "2" in line for line in lines)
    for number, line in enumerate(lines, 1):
        for match in _PATH.finditer(line):
            for name in _names(match):
                if name == "FullyShardedDataParallelPlugin" and new:
                    continue
                message = f"{name} is FSDP1: {advice(name, match[1] or '')}"
                yield Finding(path, number, match.start() + 1, CODE, message, Tier.MANUAL)


def makes_models(item: Finding) -> bool:
    """Whether a finding is about FSDP1 models that are made from outside of Python."""
    return item.code == CODE and item.message.startswith("FullyShardedDataParallel is")


def _names(match: re.Match[str]) -> list[str]:
    """The names of FSDP1 that one place speaks of."""
    if match[3]:
        return [match[3]]
    parts = [part for part in match[1].split(".") if part]
    if match[2]:
        names = [word.split()[0] for word in match[2].split(",") if word.strip()]
        return [name for name in names if FSDP2.isdisjoint({*parts, name})]
    if not parts or not FSDP2.isdisjoint(parts):
        return []
    last = next((part for part in parts if part[0].isupper()), parts[-1])
    return [last]


def advice(name: str, path: str = "") -> str:
    """What to write instead of a name of FSDP1."""
    if ".wrap" in path or name.endswith(("Policy", "_policy")):
        return _POLICY
    if name.endswith("StateDictConfig"):
        return _ADVICE["StateDictType"]
    return _ADVICE.get(name, _OTHER)
