"""Accelerate's `FullyShardedDataParallelPlugin(...)` gets `fsdp_version=2` and FSDP2's arguments.

https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2

What the rule won't do: arguments that only the run knows, `NO_SHARD` (Accelerate has plain data
parallelism for that), and wrap policies that are functions, which Accelerate's FSDP2 leaves
out of account without a word.  Hybrid sharding becomes a `ParallelismConfig` of the `Accelerator`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.arguments import Arguments
from fsdp_migrate.findings.code import Literal
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks import accelerate_plugin, settings
from fsdp_migrate.frameworks.conversion import ByHand, Conversion
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries import accelerator
from fsdp_migrate.rule.queries.framework_settings import SettingValues
from fsdp_migrate.rule.rule import Example, Rule, finding, finding_at


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Turn one plugin into its FSDP2 form, or say what is in the way."""
    if use.call is None or accelerator.is_fsdp2(facts, use.call):
        return
    try:
        plan = _converted(use, facts)
        hybrid = accelerate_plugin.strategy(plan) in settings.HYBRID
        taker = _accelerator(use, facts) if hybrid else None
    except ByHand as reason:
        units = frozenset(f"file {path}" for path in reason.paths)
        yield finding(RULE, use, str(reason), tier=Tier.MANUAL, models=units, at=reason.at)
        return
    units = frozenset[str]()
    if taker is not None:
        units = frozenset({f"file {use.module.path}", f"file {taker.module.path}"})
        yield finding_at(
            RULE,
            taker.module,
            taker.node,
            "hybrid sharding becomes a ParallelismConfig of the Accelerator (1.10 or newer)",
            tier=Tier.NATIVE,
            edits=[taker.edit()],
            models=units,
        )
    yield finding(
        RULE,
        use,
        settings.sentences("FullyShardedDataParallelPlugin(...) gets fsdp_version=2", *plan.notes),
        tier=Tier.NATIVE,
        edits=plan.edits(),
        safety=plan.safety,
        models=units,
    )
    yield from _prepared(facts)


def absorbs(use: Use, facts: Facts) -> Iterable[ast.AST]:
    """The nodes of the arguments that are left out or written anew."""
    if use.call is None or accelerator.is_fsdp2(facts, use.call):
        return ()
    try:
        return _converted(use, facts).replaced
    except ByHand:
        return ()


def survey(facts: Facts) -> Iterator[Finding]:
    """Policies that are put into a plugin afterwards."""
    for late in accelerator.late_policies(facts):
        unsure = "" if late.certain else "if this is the plugin of an Accelerator: "
        message = f"{unsure}{accelerate_plugin.LATE_POLICY}"
        yield finding_at(RULE, late.module, late.target, message, tier=Tier.MANUAL)


def _converted(use: Use, facts: Facts) -> Conversion:
    """What becomes of one plugin."""
    plan = Conversion(use.module, use.arguments(), SettingValues(facts, use.module))
    accelerate_plugin.convert(plan)
    if any(accelerator.is_mixed(facts, taker) for taker in accelerator.takers(use, facts)):
        plan.unsafe(settings.BUFFERS)
    plan.arguments.put("fsdp_version", Literal(2), first=True)
    plan.remove_unread()
    return plan


def _accelerator(use: Use, facts: Facts) -> Arguments:
    """The call that takes the plugin, with the mesh of hybrid sharding."""
    found = list(accelerator.takers(use, facts))
    if len(found) == 1 and accelerator.takes_it_surely(facts, found[0]):
        (taker,) = found
        if "parallelism_config" not in taker:
            taker.put("parallelism_config", settings.PARALLELISM)
            return taker
    raise ByHand(accelerate_plugin.HYBRID)


def _prepared(facts: Facts) -> Iterator[Finding]:
    """Calls of `prepare` that Accelerate's FSDP2 refuses, or may refuse."""
    for module, call, certain in accelerator.lonely_prepares(facts):
        message = (
            "Accelerate's FSDP2 prepares one model, together with its optimizer; give both to the "
            "same prepare()"
            if certain
            else "if this is the model or the optimizer: Accelerate's FSDP2 wants both in the same "
            "prepare()"
        )
        tier = Tier.MANUAL if certain else Tier.NOTE
        yield finding_at(RULE, module, call, message, tier=tier)


RULE = Rule(
    code="FSDP601",
    name="accelerate-plugin",
    summary="Accelerate's `FullyShardedDataParallelPlugin` becomes that of FSDP2",
    why=(
        "Accelerate picks FSDP1 unless `fsdp_version` says 2; then it refuses some of FSDP1's "
        "arguments, and leaves others out of account without a word: sharding strategies and wrap "
        "policies among them."
    ),
    fix_safety=(
        "Unsafe where the message says so: buffers keep their dtype under mixed precision, "
        "activations are checkpointed without the random state, and weights are not sent from "
        "rank 0 unless cpu_ram_efficient_loading asks for it.  Otherwise safe."
    ),
    left=(
        "Settings that only the run knows, and calls of `prepare` that Accelerate's FSDP2 "
        "refuses: give it one model together with its optimizer.  Set fsdp_version=2 and "
        "reshard_after_forward yourself, and a ParallelismConfig for hybrid sharding."
    ),
    needs=("no buffer is cast: there is no mixed precision",),
    check=check,
    symbols=accelerator.PLUGIN,
    survey=survey,
    replaces=absorbs,
    references=("https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2",),
    examples=(
        Example(
            before="""\
from accelerate import Accelerator, FullyShardedDataParallelPlugin

plugin = FullyShardedDataParallelPlugin(
    sharding_strategy="SHARD_GRAD_OP",
    backward_prefetch="BACKWARD_PRE",
    use_orig_params=True,
    state_dict_type="SHARDED_STATE_DICT",
)
accelerator = Accelerator(fsdp_plugin=plugin)
""",
            after="""\
from accelerate import Accelerator, FullyShardedDataParallelPlugin

plugin = FullyShardedDataParallelPlugin(
    fsdp_version=2,
    reshard_after_forward=False,
    state_dict_type="SHARDED_STATE_DICT",
)
accelerator = Accelerator(fsdp_plugin=plugin)
""",
        ),
    ),
)
