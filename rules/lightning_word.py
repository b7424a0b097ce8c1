"""Lightning's FSDP1 in a YAML file or on a command line: a class path, or the word `fsdp`.

The work is done in `fsdp_migrate.frameworks.outside`; here is what there is to know about it.
"""

from __future__ import annotations

from fsdp_migrate.rule.rule import Example, Rule, no_uses

RULE = Rule(
    code="FSDP623",
    name="lightning-word",
    summary="`FSDPStrategy`, or `strategy: fsdp`, in configurations and commands of Lightning",
    why=(
        "Both are FSDP1.  Lightning's FSDP2 is ModelParallelStrategy, which leaves the sharding to "
        "`configure_model()` of the LightningModule: Python that no configuration can hold."
    ),
    fix_safety="There is no fix: see the finding for what to write.",
    left=(
        "Always.  Choose ModelParallelStrategy, and call fully_shard in configure_model() of "
        "the LightningModule."
    ),
    check=no_uses,
    references=(
        "https://lightning.ai/docs/pytorch/stable/advanced/model_parallel/tp_fsdp.html",
        "https://lightning.ai/docs/pytorch/stable/cli/lightning_cli.html",
    ),
    examples=(
        Example(
            before="""\
trainer:
  devices: 8
  strategy: fsdp
""",
            file="config.yaml",
            beside=(
                (
                    "train.py",
                    """\
from lightning.pytorch.cli import LightningCLI
""",
                ),
            ),
        ),
    ),
)
