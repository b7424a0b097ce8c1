"""`TrainingArguments(fsdp="full_shard auto_wrap", ...)` becomes `fsdp=True` and an `fsdp_config`.

https://huggingface.co/docs/transformers/fsdp

Transformers 5 has its FSDP2 settings in `fsdp_config`, and drops FSDP1 and the words of `fsdp`.
What the rule won't do: settings that only the run knows, `no_shard`, size-based wrapping.  Hybrid
sharding becomes a `parallelism_config`.  A file that `fsdp_config` names is migrated as a file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.arguments import bind
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks import training_arguments
from fsdp_migrate.frameworks.conversion import ByHand, Conversion
from fsdp_migrate.frameworks.settings import sentences
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.framework_settings import SettingValues, calls_of_subclasses
from fsdp_migrate.rule.rule import Example, Rule, finding_at
from fsdp_migrate.syntax.module import Module

CLASSES = ("TrainingArguments", "Seq2SeqTrainingArguments")
SUBCLASSES = (  # of TRL: each takes the arguments of TrainingArguments
    "BCOConfig", "CPOConfig", "DPOConfig", "GKDConfig", "GRPOConfig", "IterativeSFTConfig",
    "KTOConfig", "NashMDConfig", "ORPOConfig", "OnlineDPOConfig", "PPOConfig", "PRMConfig",
    "RLOOConfig", "RewardConfig", "SFTConfig", "XPOConfig",
)  # fmt: skip
SYMBOLS = (
    *(f"transformers.{name}" for name in CLASSES),
    "transformers.training_args.TrainingArguments",
    "transformers.training_args_seq2seq.Seq2SeqTrainingArguments",
    "sentence_transformers.SentenceTransformerTrainingArguments",
    "sentence_transformers.training_args.SentenceTransformerTrainingArguments",
    "setfit.TrainingArguments",
    *(f"trl.{name}" for name in SUBCLASSES),
)


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Move one call's settings to FSDP2's."""
    return _check(use.module, use.call, facts) if use.call is not None else ()


def survey(facts: Facts) -> Iterator[Finding]:
    """Calls of the project's own subclasses."""
    for module, call in calls_of_subclasses(facts, SYMBOLS):
        if any(keyword.arg == "fsdp" for keyword in call.keywords):
            yield from _check(module, call, facts)


def _check(module: Module, call: ast.Call, facts: Facts) -> Iterator[Finding]:
    plan = Conversion(module, bind(module, call), SettingValues(facts, module))
    try:
        if not training_arguments.convert(plan):
            return
    except ByHand as reason:
        yield finding_at(RULE, module, call, str(reason), tier=Tier.MANUAL)
        return
    yield finding_at(
        RULE,
        module,
        call,
        sentences("FSDP2 of Transformers 5: fsdp=True and its fsdp_config", *plan.notes),
        tier=Tier.NATIVE,
        edits=plan.edits(),
        safety=plan.safety,
    )
    for node, text in plan.remarks:
        yield finding_at(RULE, module, node, text, tier=Tier.NOTE)


RULE = Rule(
    code="FSDP603",
    name="hf-training-arguments",
    summary="`TrainingArguments(fsdp=...)` becomes FSDP2's `fsdp=True` with an `fsdp_config`",
    why=(
        "Transformers 5 makes FSDP2 the default and drops FSDP1 together with the words of `fsdp`; "
        "what they said has to stand in `fsdp_config`."
    ),
    fix_safety=(
        "Unsafe where the message says so: FSDP1's sync_module_states was on by default and sent "
        "rank 0's weights to the others, and it cast buffers under mixed precision.  Otherwise "
        "safe."
    ),
    left=(
        "Arguments that only the run knows, hybrid sharding, no_shard and wrapping by size: "
        "write fsdp=True and an fsdp_config with version 2, and give the Accelerator a "
        "ParallelismConfig for hybrid sharding."
    ),
    needs=("rank 0's weights are sent to the others if FSDP1 sent them",),
    check=check,
    symbols=SYMBOLS,
    survey=survey,
    references=("https://huggingface.co/docs/transformers/fsdp",),
    examples=(
        Example(
            before="""\
from transformers import TrainingArguments

args = TrainingArguments(
    output_dir="out",
    fsdp="shard_grad_op auto_wrap",
    fsdp_config={"transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"], "use_orig_params": True},
)
""",
            after="""\
from transformers import TrainingArguments

args = TrainingArguments(
    output_dir="out",
    fsdp=True,
    fsdp_config={
        "version": 2,
        "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"],
        "reshard_after_forward": False,
    },
)
""",
        ),
    ),
)
