"""The FSDP settings of Transformers' Trainer in a file: from FSDP1's to FSDP2's.

https://huggingface.co/docs/transformers/fsdp

Either a file of training arguments, with `fsdp` and `fsdp_config`, or the file that
`fsdp_config` names, where what `fsdp` says is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fsdp_migrate.findings.finding import Safety
from fsdp_migrate.frameworks import settings as frameworks
from fsdp_migrate.frameworks.config_files.decision import Decision

HYBRID = (
    "hybrid sharding takes a parallelism_config=ParallelismConfig(dp_replicate_size=<nodes>, "
    "dp_shard_size=<devices per node>) of TrainingArguments, which a file can't hold"
)
NO_SHARD = (
    "FSDP2 of Transformers has no no_shard, which is plain data parallelism; leave fsdp out, and "
    "the Trainer uses DistributedDataParallel"
)
# Training arguments, and arguments of the programs around them, that nothing else has.
TRAINERS_OWN = frozenset(
    {
        "ddp_find_unused_parameters",
        "eval_strategy",
        "evaluation_strategy",
        "fsdp_min_num_params",
        "fsdp_transformer_layer_cls_to_wrap",
        "gradient_checkpointing_kwargs",
        "group_by_length",
        "hub_model_id",
        "load_best_model_at_end",
        "logging_strategy",
        "lr_scheduler_kwargs",
        "lr_scheduler_type",
        "metric_for_best_model",
        "model_name_or_path",
        "neftune_noise_alpha",
        "num_train_epochs",
        "overwrite_output_dir",
        "per_device_eval_batch_size",
        "per_device_train_batch_size",
        "push_to_hub",
        "remove_unused_columns",
        "report_to",
        "save_strategy",
        "save_total_limit",
        "use_liger_kernel",
    }
)
_CONFIGS_OWN = frozenset(
    {
        "cpu_ram_efficient_loading",
        "transformer_layer_cls_to_wrap",
        "xla",
        "xla_fsdp_grad_ckpt",
        "xla_fsdp_settings",
        "xla_fsdp_v2",
    }
)


def is_config(table: Mapping[str, object]) -> bool:
    """Whether a table is the file that `fsdp_config` names: nothing but FSDP's settings."""
    names = {key.removeprefix("fsdp_") for key in table}
    return bool(names) and names <= frameworks.CONFIG_KEYS and bool(names - {"version", "xla"})


def is_certain(table: Mapping[str, object]) -> bool:
    """Whether nothing but the file that `fsdp_config` names has the keys of a table."""
    return not _CONFIGS_OWN.isdisjoint(table) or any(key.startswith("fsdp_") for key in table)


def are_arguments(top: Mapping[str, object]) -> bool:
    """Whether a table with a key `fsdp` can be nothing but training arguments, or Axolotl's."""
    if "base_model" in top or not TRAINERS_OWN.isdisjoint(top):
        return True
    if any("TrainingArguments" in str(top.get(key)) for key in ("_target_", "class_path")):
        return True
    words = frameworks.words_of(top.get("fsdp"))
    wraps = words is not None and "auto_wrap" in words
    return bool(words) and (_names_config(top.get("fsdp_config")) or wraps)


def _names_config(given: object) -> bool:
    """Whether a value is a file of FSDP's settings, or nothing but such settings."""
    return isinstance(given, str) or (isinstance(given, Mapping) and is_config(given))


def decide(decision: Decision, words: Collection[str] | None) -> bool:
    """Go through an `fsdp_config`, and what `fsdp` says beside it; False if it is FSDP2's."""
    if str(decision.value("version")) == "2":
        return False
    if frameworks.truth(decision.value("xla")):
        return False
    member = _member(decision, words)
    if member == "NO_SHARD":
        decision.manual(NO_SHARD, "reshard_after_forward")
    elif member in frameworks.HYBRID:
        decision.manual(HYBRID, "reshard_after_forward")
    _never_read(decision, member, words)
    for name, why in frameworks.DROPPED_SETTINGS.items():
        entry = decision.entry(name)
        if entry is not None:
            decision.drop(name, f"{entry.key} is left out: {why}")
    if member in frameworks.RESHARD:
        reshard = frameworks.RESHARD[member]
        decision.put(
            "reshard_after_forward",
            reshard,
            f"{member} becomes reshard_after_forward: {str(reshard).lower()}",
        )
    _wrapping(decision, words)
    if words is not None and "offload" in words:
        decision.put("cpu_offload", True, "offload becomes cpu_offload: true")
    _changes(decision)
    decision.put("version", 2, "version: 2 makes it FSDP2 (Transformers 5)")
    return True


def _member(decision: Decision, words: Collection[str] | None) -> str | None:
    """The strategy; None if only the words of `fsdp` say it, and they stand elsewhere."""
    entry = decision.entry("reshard_after_forward")
    if entry is not None:
        member = frameworks.strategy(entry.value)
        if member is not None:
            return member
        resharding = frameworks.truth(entry.value)
        if resharding is None:
            decision.manual(f"{entry.value!r} is no sharding strategy", "reshard_after_forward")
            return None
        return "FULL_SHARD" if resharding else "SHARD_GRAD_OP"
    if words is None:
        return None
    found = [s for w in words if (s := frameworks.strategy(w)) is not None]
    return found[0] if found else "FULL_SHARD"


def _never_read(decision: Decision, member: str | None, words: Collection[str] | None) -> None:
    """Drop settings of Accelerate's that Transformers ignores."""
    said = frameworks.strategy(decision.value("sharding_strategy"))
    entry = decision.entry("sharding_strategy")
    if entry is not None:
        text = f"{entry.key} is left out: Transformers never read it, what `fsdp` says counts"
        if said in (*frameworks.HYBRID, "NO_SHARD") and member != said:
            decision.manual(
                f"Transformers never read {entry.key}: {entry.value}, what `fsdp` says counts; "
                f"{NO_SHARD if said == 'NO_SHARD' else HYBRID}",
                "sharding_strategy",
            )
        else:
            decision.drop("sharding_strategy", text)
    offload = decision.entry("offload_params")
    if offload is not None:
        text = f"{offload.key} is left out: Transformers never read it"
        if frameworks.truth(offload.value) and "offload" not in (words or ()):
            text += "; cpu_offload: true is what offloads"
        decision.drop("offload_params", text)


def _wrapping(decision: Decision, words: Collection[str] | None) -> None:
    size = decision.value("min_num_params")
    if size not in (None, 0) and (words is None or "auto_wrap" in words):
        decision.manual(frameworks.SIZE_BASED, "min_num_params")
    if words is None or "any_wrap" in words:
        entry = decision.entry("auto_wrap_policy")
        if entry is not None and isinstance(entry.value, str):
            word = entry.value.upper()
            decision.put("auto_wrap_policy", word, f"auto_wrap_policy is written {word}")
    elif "auto_wrap" not in words:
        decision.put(
            "auto_wrap_policy", "NO_WRAP", "without auto_wrap the model was, and is, one unit"
        )
    elif decision.entry("auto_wrap_policy") is not None:
        decision.put(
            "auto_wrap_policy", "TRANSFORMER_BASED_WRAP", "auto_wrap meant TRANSFORMER_BASED_WRAP"
        )


def _changes(decision: Decision) -> None:
    """Note what FSDP2 does differently."""
    if frameworks.truth(decision.value("cpu_ram_efficient_loading")) is not True:
        decision.note("cpu_ram_efficient_loading", frameworks.BROADCAST, Safety.UNSAFE)
    if frameworks.truth(decision.value("activation_checkpointing")):
        decision.note("activation_checkpointing", frameworks.RANDOM_STATE, Safety.UNSAFE)
