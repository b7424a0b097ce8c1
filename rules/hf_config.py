"""The JSON file of Transformers' `fsdp_config`, or of training arguments, gets `"version": 2`.

https://huggingface.co/docs/transformers/fsdp

The work is done in `fsdp_migrate.frameworks.config_files`; here is what there is to know about it.
"""

from __future__ import annotations

from fsdp_migrate.rule.rule import Example, Rule, no_uses

RULE = Rule(
    code="FSDP612",
    name="hf-config",
    summary="Transformers' `fsdp_config` and training arguments in JSON, and Accelerate's JSON",
    why=(
        "Transformers 5 makes FSDP2 the default and drops FSDP1 together with the words of "
        '`"fsdp"`; what they said has to stand in `fsdp_config`.  Hybrid sharding takes a '
        "parallelism_config, which this file can't hold: it is left for you, and so are no_shard "
        "and size-based wrapping."
    ),
    fix_safety=(
        "Safe but for what the notes say: rank 0's weights are sent to the others only with "
        "cpu_ram_efficient_loading.  The order of keys, indentation and line ends stay."
    ),
    left=(
        "Hybrid sharding, no_shard and wrapping by size: write an fsdp_config with version 2 "
        "without them, and say the mesh in a parallelism_config."
    ),
    check=no_uses,
    references=("https://huggingface.co/docs/transformers/fsdp",),
    examples=(
        Example(
            before="""\
{
  "output_dir": "out",
  "fsdp": "full_shard auto_wrap",
  "fsdp_config": {
    "transformer_layer_cls_to_wrap": ["Block"]
  }
}
""",
            after="""\
{
  "output_dir": "out",
  "fsdp": true,
  "fsdp_config": {
    "transformer_layer_cls_to_wrap": ["Block"],
    "reshard_after_forward": true,
    "version": 2
  }
}
""",
            file="arguments.json",
            beside=(
                (
                    "train.py",
                    """\
from transformers import HfArgumentParser, TrainingArguments
""",
                ),
            ),
        ),
    ),
)
