"""The settings of an Accelerate configuration: from FSDP1's to FSDP2's.

https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2

Accelerate's own converter forgets that a strategy was hybrid, or was no sharding at all, and
hands a strategy that is a number on as a number.  Here hybrid sharding becomes a
`parallelism_config`, and what has no form in FSDP2 is left for a person to decide.
"""

from __future__ import annotations

from collections.abc import Mapping

from fsdp_migrate.findings.finding import Safety
from fsdp_migrate.frameworks import settings as frameworks
from fsdp_migrate.frameworks.config_files.decision import Decision

REPLICATE = "parallelism_config_dp_replicate_size"
SHARD = "parallelism_config_dp_shard_size"
KEPT = frozenset(
    {
        "activation_checkpointing",
        "activation_checkpointing_offload",
        "auto_wrap_policy",
        "cpu_ram_efficient_loading",
        "ignored_modules",
        "min_num_params",
        "offload_params",
        "state_dict_type",
        "transformer_cls_to_wrap",
        "transformer_layer_cls_to_wrap",
    }
)
# Keys of a configuration that only Accelerate's launcher has.
LAUNCHERS_OWN = frozenset(
    {
        "compute_environment",
        "deepspeed_config",
        "downcast_bf16",
        "dynamo_config",
        "enable_cpu_affinity",
        "machine_rank",
        "main_process_ip",
        "main_process_port",
        "main_training_function",
        "megatron_lm_config",
        "num_machines",
        "num_processes",
        "parallelism_config",
        "rdzv_backend",
        "same_network",
        "tpu_env",
        "tpu_use_cluster",
    }
)


def is_accelerate(top: Mapping[str, object]) -> bool:
    """Whether a file is an Accelerate configuration that switches FSDP on."""
    kind = top.get("distributed_type")
    return isinstance(kind, str) and kind.strip().upper() == "FSDP"


def is_certain(top: Mapping[str, object]) -> bool:
    """Whether nothing but an Accelerate configuration has the keys that a table has."""
    config = top.get("fsdp_config")
    named = isinstance(config, Mapping) and any(str(key).startswith("fsdp_") for key in config)
    return named or not LAUNCHERS_OWN.isdisjoint(top)


def decide(decision: Decision, top: Mapping[str, object]) -> dict[str, int] | None:
    """Go through the settings; the `parallelism_config` that the file needs besides, or None."""
    version = decision.value("version")
    if str(version) == "2":
        _forgotten(decision, top)
        return None
    if version is not None and str(version) != "1":
        decision.manual("`fsdp_version` is neither 1 nor 2", "version")
        return None
    mesh = _strategy(decision, top)
    _wrapping(decision)
    _loading(decision)
    for name, why in frameworks.DROPPED_SETTINGS.items():
        entry = decision.entry(name)
        if entry is not None:
            decision.drop(name, f"{entry.key} is left out: {why}")
    _state_dicts(decision)
    _precision(decision, top)
    _unknown(decision)
    decision.put("version", 2, "fsdp_version: 2 makes it FSDP2")
    return mesh


def _forgotten(decision: Decision, top: Mapping[str, object]) -> None:
    """Complain about settings of FSDP1 in a file of FSDP2, which ignores them."""
    for name in ("sharding_strategy", "reshard_after_forward"):
        entry = decision.entry(name)
        member = frameworks.strategy(decision.value(name))
        hybrid = member in frameworks.HYBRID and not top.get("parallelism_config")
        if entry is not None and (hybrid or member == "NO_SHARD"):
            way = _hybrid_way() if hybrid else _no_shard_way()
            decision.manual(f"FSDP2 leaves this {entry.key} out of account: {way}", name)


# ---------------------------------------------------------------------- strategies
def _strategy(decision: Decision, top: Mapping[str, object]) -> dict[str, int] | None:
    name = "sharding_strategy"
    old, new = decision.entry(name), decision.entry("reshard_after_forward")
    if old is None:
        if new is None or isinstance(new.value, bool):
            return None  # FULL_SHARD, and the default of FSDP2
        name, old, new = "reshard_after_forward", new, None
    word = frameworks.truth(old.value) if name != "sharding_strategy" else None
    member = frameworks.strategy(old.value)
    if member is None and isinstance(word, bool) and isinstance(old.value, str):
        return None
    if member is None:
        decision.manual(
            f"{old.key}: {old.value!r} is no sharding strategy; FSDP2 takes "
            f"{decision.key('reshard_after_forward')}: true (for FULL_SHARD) or false",
            name,
        )
        return None
    if member == "NO_SHARD":
        decision.manual(f"NO_SHARD: {_no_shard_way()}", name)
        return None
    mesh = None
    if member in frameworks.HYBRID:
        mesh = _mesh(decision, top, name)
        if mesh is None:
            return None
    reshard = frameworks.RESHARD[member]
    if new is not None:
        decision.drop(name, f"{member} is said by {new.key}")
        decision.put("reshard_after_forward", reshard, _means(member, reshard, mesh))
    else:
        decision.put("reshard_after_forward", reshard, _means(member, reshard, mesh), name)
    return mesh


def _means(member: str, reshard: bool, mesh: Mapping[str, int] | None) -> str:
    text = f"{member} becomes reshard_after_forward: {str(reshard).lower()}"
    if mesh is None:
        return text
    return (
        f"{text} and a parallelism_config (Accelerate 1.10 or newer): parameters are sharded over "
        f"{mesh[SHARD]} processes of a machine, in {mesh[REPLICATE]} "
        f"replica{'' if mesh[REPLICATE] == 1 else 's'}"
    )


def _mesh(decision: Decision, top: Mapping[str, object], name: str) -> dict[str, int] | None:
    """The sizes of the mesh: FSDP1 shards over the devices of a machine."""
    processes, machines = top.get("num_processes"), top.get("num_machines", 1)
    if top.get("parallelism_config"):
        decision.manual(f"hybrid sharding: {_hybrid_way()}; the file has one already", name)
    elif not _is_count(processes) or not _is_count(machines):
        decision.manual(
            f"hybrid sharding: {_hybrid_way()}; the file doesn't say how many processes and "
            "machines there are",
            name,
        )
    else:
        assert isinstance(processes, int)
        assert isinstance(machines, int)
        inside = processes // machines
        if inside * machines != processes:
            decision.manual(
                f"hybrid sharding: {processes} processes do not divide among {machines} machines",
                name,
            )
        elif inside == 1:
            decision.manual(
                "hybrid sharding with one process a machine is no sharding at all: "
                f"{_no_shard_way()}",
                name,
            )
        else:
            return {REPLICATE: machines, SHARD: inside}
    return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _hybrid_way() -> str:
    return (
        f"FSDP2 takes a parallelism_config with {REPLICATE} (machines) and {SHARD} (processes a "
        "machine)"
    )


def _no_shard_way() -> str:
    return (
        "Accelerate's FSDP2 can't leave parameters whole; use distributed_type: MULTI_GPU, which "
        "is DistributedDataParallel, without fsdp_config"
    )


# ---------------------------------------------------------------------- the rest
def _wrapping(decision: Decision) -> None:
    policy = str(decision.value("auto_wrap_policy")).strip().upper()
    if policy == "SIZE_BASED_WRAP" and decision.value("min_num_params") != 0:
        decision.manual(frameworks.SIZE_BASED, "auto_wrap_policy")
    if frameworks.truth(decision.value("activation_checkpointing")) is not True:
        return
    if decision.entry("auto_wrap_policy") is None or policy in ("NO_WRAP", "NONE"):
        decision.manual(frameworks.NO_WRAP_CHECKPOINTING, "activation_checkpointing")
    decision.note("activation_checkpointing", frameworks.RANDOM_STATE, Safety.UNSAFE)


def _loading(decision: Decision) -> None:
    """What `sync_module_states` did, `cpu_ram_efficient_loading` does."""
    loads = decision.entry("cpu_ram_efficient_loading")
    sync = decision.entry("sync_module_states")
    synced = frameworks.truth(sync.value) if sync is not None else True  # the launcher's default
    if loads is not None and frameworks.truth(loads.value) is not True and synced is not False:
        decision.note("cpu_ram_efficient_loading", frameworks.BROADCAST, Safety.UNSAFE)


def _state_dicts(decision: Decision) -> None:
    entry = decision.entry("state_dict_type")
    if entry is None or entry.value is None:
        key = decision.key("state_dict_type")
        decision.put(
            "state_dict_type",
            "FULL_STATE_DICT",
            f"{key}: FULL_STATE_DICT was the default, FSDP2's is SHARDED_STATE_DICT",
        )
    elif frameworks.state_dict_type(entry.value) == "LOCAL_STATE_DICT":
        decision.manual(frameworks.LOCAL_STATE_DICT, "state_dict_type")


def _precision(decision: Decision, top: Mapping[str, object]) -> None:
    mixed = top.get("mixed_precision")
    if mixed not in (None, False, "no"):
        decision.note("version", f"mixed_precision: {mixed}: {frameworks.BUFFERS}", Safety.UNSAFE)


def _unknown(decision: Decision) -> None:
    known = (
        KEPT
        | frameworks.DROPPED_SETTINGS.keys()
        | {"version", "sharding_strategy", "reshard_after_forward"}
    )
    for key in decision.table:
        name = key.removeprefix("fsdp_")
        if name not in known:
            decision.note(name, f"{key} is unknown here and stays as it is")
