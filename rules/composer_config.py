"""Composer's `parallelism_config={'fsdp': {...}}` gets an `FSDP2Config`.

https://docs.mosaicml.com/projects/composer/en/stable/notes/fsdp2.html

What the rule won't do: settings that `FSDP2Config` has not and that do something (CPU offload,
ignored modules, process groups), and hybrid sharding, for Composer's Trainer puts a mesh of one
dimension in the place of any that `FSDP2Config` is given.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks import composer
from fsdp_migrate.frameworks.conversion import ByHand, Conversion
from fsdp_migrate.frameworks.settings import sentences
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.framework_settings import SettingValues
from fsdp_migrate.rule.rule import Example, Rule, finding

TRAINERS = ("composer.Trainer", "composer.trainer.Trainer", "composer.trainer.trainer.Trainer")


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Give one Trainer its FSDP2Config."""
    if use.call is None or use.name not in TRAINERS:
        return
    plan = Conversion(use.module, use.arguments(), SettingValues(facts, use.module))
    try:
        if not composer.convert(plan):
            return
    except ByHand as reason:
        yield finding(RULE, use, str(reason), tier=Tier.MANUAL, at=reason.at)
        return
    yield finding(
        RULE,
        use,
        sentences("the FSDP configuration becomes an FSDP2Config (Composer 0.32)", *plan.notes),
        tier=Tier.NATIVE,
        safety=plan.safety,
        edits=plan.edits(),
    )


RULE = Rule(
    code="FSDP604",
    name="composer-config",
    summary="Composer's FSDP configuration becomes an `FSDP2Config`",
    why=(
        "A plain dict, or an FSDPConfig, is FSDP1 to Composer.  What it does with one under "
        "FSDP_VERSION=2 loses the sharding strategy and changes the kind of checkpoint."
    ),
    fix_safety=(
        "Unsafe under mixed precision, for buffers keep their dtype.  Units, parameters and "
        "checkpoints are the same; the settings left out are about speed, or flat parameters."
    ),
    left=(
        "A configuration that is put together while the program runs, and settings that "
        "FSDP2Config has nothing for: make an FSDP2Config of what you need, and leave out what "
        "the message names."
    ),
    needs=("there is no mixed precision, which cast buffers",),
    check=check,
    symbols=TRAINERS,
    references=("https://docs.mosaicml.com/projects/composer/en/stable/notes/fsdp2.html",),
    examples=(
        Example(
            before="""\
from composer import Trainer

fsdp_config = {
    "sharding_strategy": "SHARD_GRAD_OP",
    "mixed_precision": "PURE",
    "forward_prefetch": True,
}
trainer = Trainer(model=model, parallelism_config={"fsdp": fsdp_config})
""",
            after="""\
from composer import Trainer
from composer.utils import FSDP2Config

fsdp_config = FSDP2Config(
    reshard_after_forward=False,
    mixed_precision="PURE",
    state_dict_type="full",
)
trainer = Trainer(model=model, parallelism_config={"fsdp": fsdp_config})
""",
        ),
    ),
)
