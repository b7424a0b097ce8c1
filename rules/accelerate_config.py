"""An Accelerate configuration in YAML with `distributed_type: FSDP` gets `fsdp_version: 2`.

https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2

The work is done in `fsdp_migrate.frameworks.config_files`; here is what there is to know about it.
"""

from __future__ import annotations

from fsdp_migrate.rule.rule import Example, Rule, no_uses

RULE = Rule(
    code="FSDP611",
    name="accelerate-config",
    summary="Accelerate's YAML configuration, and training arguments in YAML",
    why=(
        "Accelerate runs FSDP1 unless fsdp_version says 2.  Its own converter loses comments, "
        "and what HYBRID_SHARD and NO_SHARD meant.  Here hybrid sharding becomes a "
        "parallelism_config, by the processes and machines that the file gives; NO_SHARD, "
        "size-based wrapping and settings that come by an anchor are left for you.  Axolotl's and "
        "Composer's files are found, and not changed."
    ),
    fix_safety=(
        "Safe but for what the notes say: under mixed precision buffers keep their dtype, "
        "activations are checkpointed without the random state, and rank 0's weights are sent to "
        "the others only with cpu_ram_efficient_loading.  Lines that need not change do not."
    ),
    left=(
        "NO_SHARD, wrapping by size, and settings that come by an anchor: write into the file "
        "what the message says, with fsdp_version: 2."
    ),
    check=no_uses,
    references=("https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2",),
    examples=(
        Example(
            before="""\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP  # units
  fsdp_sharding_strategy: SHARD_GRAD_OP
  fsdp_state_dict_type: SHARDED_STATE_DICT
mixed_precision: bf16
num_processes: 8
""",
            after="""\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP  # units
  fsdp_reshard_after_forward: false
  fsdp_state_dict_type: SHARDED_STATE_DICT
  fsdp_version: 2
mixed_precision: bf16
num_processes: 8
""",
            file="accelerate.yaml",
        ),
    ),
)
