"""Classes of FSDP1 that a configuration or a script names by their path.

The work is done in `fsdp_migrate.frameworks.outside`; here is what there is to know about it.
"""

from __future__ import annotations

from fsdp_migrate.rule.rule import Rule, no_uses

RULE = Rule(
    code="FSDP622",
    name="class-path",
    summary="Hydra's `_target_: torch.distributed.fsdp...` and other paths outside of Python",
    why=(
        "What is made from such a path is FSDP1, whatever becomes of the Python around it.  FSDP2 "
        "is a function that is called on each unit, so a setting for a setting does not always do."
    ),
    fix_safety="There is no fix: see the finding for what to write.",
    check=no_uses,
    references=("https://hydra.cc/docs/advanced/instantiate_objects/overview/",),
)
