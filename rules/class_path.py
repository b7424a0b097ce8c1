"""Classes of FSDP1 that a configuration, a script or a text in Python names by their path.

For files that are no Python the work is done in `fsdp_migrate.frameworks.outside`.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks.outside.class_paths import advice
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.named_in_text import asked_by_name, names_in_text
from fsdp_migrate.rule.queries.parameters import rewritable
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.fsdp1_names import short


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at texts that are the path of a class, and at names that only the run knows."""
    for module in rewritable(facts):
        for text, name in names_in_text(module):
            message = f"{short(name)} is FSDP1: {advice(short(name), name)}"
            yield finding_at(RULE, module, text, message, tier=Tier.MANUAL, blocking=False)
        for node in asked_by_name(facts, module):
            message = (
                "only the run knows which name of torch.distributed.fsdp this is: if it can be "
                "one of FSDP1's, choose by name between functions of yours that call fully_shard"
            )
            yield finding_at(RULE, module, node, message, tier=Tier.MANUAL, blocking=False)


RULE = Rule(
    code="FSDP622",
    name="class-path",
    summary="Hydra's `_target_: torch.distributed.fsdp...` and other paths in files and texts",
    why=(
        "What is made from such a path is FSDP1, whatever becomes of the Python around it.  FSDP2 "
        "is a function that is called on each unit, so a setting for a setting does not always do."
    ),
    fix_safety="There is no fix: see the finding for what to write.",
    left=(
        "Always.  Name a function of yours that calls fully_shard on each unit and then on the "
        "model, in place of the class."
    ),
    check=no_uses,
    survey=survey,
    references=("https://hydra.cc/docs/advanced/instantiate_objects/overview/",),
    examples=(
        Example(
            before="""\
_target_: torch.distributed.fsdp.FullyShardedDataParallel
_partial_: true
use_orig_params: true
""",
            file="strategy.yaml",
        ),
    ),
)
