"""Lightning's `FSDPStrategy`: what to write for `ModelParallelStrategy`, its FSDP2.

https://lightning.ai/docs/pytorch/stable/advanced/model_parallel/tp_fsdp.html

Nothing is rewritten.  `FSDPStrategy` wraps the model itself; under `ModelParallelStrategy` the
user's own code shards it, in `configure_model()` of the LightningModule or in the function that
Fabric is given, on a mesh whose size and with a precision that are known where the Trainer or
Fabric is made.  The finding spells out that code as far as the arguments say it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks import lightning
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.framework_settings import SettingValues
from fsdp_migrate.rule.rule import Example, Rule, finding
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.nodes import nodes_in

_TRAINER = ("lightning.pytorch", "pytorch_lightning")
_FABRIC = ("lightning.fabric", "lightning_fabric")
STRATEGIES = tuple(
    f"{home}.strategies{module}.{name}"
    for home in (*_TRAINER, *_FABRIC)
    for module, name in (
        ("", "FSDPStrategy"),
        (".fsdp", "FSDPStrategy"),
        ("", "DDPFullyShardedNativeStrategy"),
    )
)
PRECISIONS = tuple(
    f"{home}.plugins{module}.{name}"
    for home in (*_TRAINER, *_FABRIC)
    for module in ("", ".precision", ".precision.fsdp")
    for name in ("FSDPPrecision", "FSDPMixedPrecisionPlugin")
)
MAKERS = (
    "lightning.Trainer",
    "lightning.Fabric",
    *(f"{home}.Trainer" for home in _TRAINER),
    *(f"{home}.Fabric" for home in _FABRIC),
)


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Say what becomes of a strategy, a precision plugin, or a strategy that is named."""
    if use.name in MAKERS:
        yield from _named(use, facts)
    elif use.name in PRECISIONS:
        yield finding(RULE, use, lightning.PRECISION_PLUGIN, tier=Tier.MANUAL)
    elif use.call is None:
        yield finding(RULE, use, lightning.REFERENCE, tier=Tier.MANUAL)
    else:
        arguments = use.arguments()
        values = SettingValues(facts, use.module)
        fabric = use.name.startswith(_FABRIC)
        advice = lightning.advice(arguments, values, fabric=fabric)
        yield finding(RULE, use, advice, tier=Tier.MANUAL)
        for name in lightning.unknown(arguments):
            message = f"`{name}` is no argument of FSDPStrategy, nor of FSDP; leave it out"
            yield finding(RULE, use, message, tier=Tier.MANUAL, at=arguments.value(name))


def absorbs(use: Use, facts: Facts) -> Iterable[ast.AST]:
    """What is written in the arguments: the finding about the strategy speaks of it."""
    if use.call is not None and use.name in STRATEGIES:
        for argument in [*use.call.args, *(k.value for k in use.call.keywords)]:
            yield from nodes_in(argument)


def _named(use: Use, facts: Facts) -> Iterable[Finding]:
    if use.call is not None:
        given = use.arguments().value("strategy")
        known = SettingValues(facts, use.module).literals(given) or []
        words = [word for word in known if isinstance(word, str) and word in lightning.WORDS]
        if words:
            message = lightning.named(words[0], fabric=short(use.name) == "Fabric")
            yield finding(RULE, use, message, tier=Tier.MANUAL)


RULE = Rule(
    code="FSDP602",
    name="lightning-strategy",
    summary="Lightning's `FSDPStrategy` has to become `ModelParallelStrategy` by hand",
    why=(
        "`FSDPStrategy` is FSDP1.  Lightning's FSDP2 leaves the sharding to a function of yours, "
        "and has another precision plugin and another set-up of optimizers."
    ),
    fix_safety="There is no fix: see the finding for the code to write.",
    left=(
        "Always.  Take ModelParallelStrategy, and call fully_shard on the units and then on the"
        " model in configure_model(), or in parallelize_fn for Fabric."
    ),
    check=check,
    symbols=(*STRATEGIES, *PRECISIONS, *MAKERS),
    replaces=absorbs,
    references=(
        "https://lightning.ai/docs/pytorch/stable/advanced/model_parallel/tp_fsdp.html",
        "https://lightning.ai/docs/fabric/stable/advanced/model_parallel/tp_fsdp.html",
    ),
    examples=(
        Example(
            before="""\
from lightning.pytorch import Trainer

trainer = Trainer(devices=8, strategy="fsdp")
""",
        ),
    ),
)
