"""Flags in scripts that switch FSDP1 on: `accelerate launch`, and `--fsdp` of the Trainer.

The work is done in `fsdp_migrate.frameworks.outside`; here is what there is to know about it.
"""

from __future__ import annotations

from fsdp_migrate.rule.rule import Example, Rule, no_uses

RULE = Rule(
    code="FSDP621",
    name="launch-flags",
    summary="flags of Accelerate's launcher and of Transformers' Trainer that switch FSDP1 on",
    why=(
        "`accelerate launch --use_fsdp` is FSDP1 unless `--fsdp_version 2` stands beside it, and "
        "the words that `--fsdp` of the Trainer takes are FSDP1's.  A command may be put together "
        "from variables, so it is left to you; the finding says which flags to write.  Flags of "
        "the same names that a program of your own takes are left alone."
    ),
    fix_safety="There is no fix: see the finding for the flags to write.",
    left=("Always.  Write the flags that the message names into the command."),
    check=no_uses,
    references=(
        "https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2",
        "https://huggingface.co/docs/transformers/fsdp",
    ),
    examples=(
        Example(
            before="""\
accelerate launch --use_fsdp --fsdp_sharding_strategy SHARD_GRAD_OP train.py
""",
            file="run.sh",
        ),
    ),
)
