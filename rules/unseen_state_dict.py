"""Calls inside of `state_dict_type` that nobody here can look into: `model.save_pretrained(...)`.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

What they do with the model may be to save it, and under FSDP2 no context says how.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.unseen_calls import UnseenCall, model_given, unseen_calls
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses


def survey(facts: Facts) -> Iterable[Finding]:
    """Name each such call, and the context around it where that stands in another file."""
    for found in unseen_calls(facts):
        units = facts.models(facts.analysis.wrapped(facts.value(model_given(found))))
        if found.module.rewrite:
            yield finding_at(
                RULE,
                found.module,
                found.call,
                _message(found),
                tier=Tier.MANUAL,
                models=units,
            )
        if found.plan.module is not found.module and found.plan.module.rewrite:
            yield finding_at(
                RULE,
                found.plan.module,
                found.plan.call,
                f"the call at {found.module.path}:{found.call.lineno} runs in this context, and "
                "what it does with the model can't be seen; migrate the two together",
                tier=Tier.MANUAL,
                models=units,
            )


def _message(found: UnseenCall) -> str:
    setting = found.plan.setting
    options = ""
    if setting is not None and setting.kind == "FULL":
        flags = ["full_state_dict=True", *(["cpu_offload=True"] if setting.rank0 else [])]
        options = f", options=StateDictOptions({', '.join(flags)})"
    name = "behind set_state_dict_type" if found.plan.is_for_good else "inside of state_dict_type"
    context = f"{name} (line {found.plan.call.lineno})"
    if found.is_given:
        what = f"{context} this is given the model, and may save or load it"
    else:
        what = f"{context} nothing that can be seen takes the state: this call may"
    return (
        f"{what}.  FSDP2 has no such mode, and to a library model.state_dict() gives shards: take "
        f"the state by get_model_state_dict(model{options}) and hand it over, as `state_dict=` say"
    )


RULE = Rule(
    code="FSDP304",
    name="unseen-state-dict",
    summary="calls inside of `state_dict_type` that may take the state where nobody sees it",
    why=(
        "The context decided what `model.state_dict()` gives, in libraries as well.  FSDP2 has "
        "nothing like it: what a library saves are the shards of one rank."
    ),
    fix_safety="There is no fix: what the call does, and what it takes, is for a person to say.",
    left=(
        "Always.  Take the state by get_model_state_dict with the options that the context "
        "said, and hand it to what is called."
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.checkpoint.html",
        "https://huggingface.co/docs/transformers/main_classes/model",
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, StateDictType

def publish(model, folder):
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):
        model.save_pretrained(folder)
""",
        ),
    ),
)
