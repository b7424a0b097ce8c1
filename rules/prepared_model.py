"""Models that Accelerate shards, where nothing in the project says by which version of FSDP.

https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2

`accelerate launch` decides it, by a configuration or a flag.  What the program asks of the model
becomes FSDP2's, and is right only if Accelerate shards by that.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.accelerator import accelerators, has_plugin
from fsdp_migrate.rule.queries.models import has_models
from fsdp_migrate.rule.rule import Example, Rule, finding, no_uses
from fsdp_migrate.syntax.fsdp1_names import FSDP1


def survey(facts: Facts) -> Iterable[Finding]:
    """Speak of the first use of FSDP1 in each file, if only Accelerate can shard the models."""
    if has_models(facts) or has_plugin(facts) or not accelerators(facts):
        return
    first: dict[str, Use] = {}
    for use in facts.uses:
        if use.name == FSDP1 or use.name.startswith(f"{FSDP1}."):
            first.setdefault(use.module.name, use)
    for use in first.values():
        yield finding(
            RULE,
            use,
            "the models are Accelerate's, and what shards them is chosen outside of this code: "
            "what asks for FSDP's class or functions is right with fsdp_version 2 only, which "
            "`accelerate launch` gets by `fsdp_version: 2` in its configuration or by "
            "`--fsdp_version 2`",
            tier=Tier.NOTE,
            safety=Safety.UNSAFE,
        )


RULE = Rule(
    code="FSDP205",
    name="prepared-model",
    summary="models that Accelerate shards by a version that is chosen elsewhere",
    why="Accelerate runs FSDP1 unless it is told otherwise, and its models are FSDP1's then.",
    fix_safety="There is no fix: see that fsdp_version is 2 where the program is launched.",
    check=no_uses,
    survey=survey,
    references=("https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2",),
    examples=(
        Example(
            before="""\
from accelerate import Accelerator
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def main(model):
    model = Accelerator().prepare(model)
    return isinstance(model, FSDP)
""",
            after="""\
from accelerate import Accelerator
from torch.distributed.fsdp import FSDPModule


def main(model):
    model = Accelerator().prepare(model)
    return isinstance(model, FSDPModule)
""",
        ),
    ),
)
