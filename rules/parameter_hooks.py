"""Hooks on parameters: when they run differs between FSDP1's parameters and FSDP2's."""

from __future__ import annotations

from collections.abc import Iterator

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import attributes, model_of, owners, use_orig_params
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses

HOOK = "register_hook"
POST_ACCUMULATE = "register_post_accumulate_grad_hook"
LOST = (
    "the gradient of FSDP1's flat parameter went through this hook; under FSDP2 it never runs: "
    f"use {POST_ACCUMULATE}, which sees this rank's shard of the reduced gradient"
)
NEVER_RAN = (
    "FSDP1 never ran this hook; under FSDP2 it runs, with this rank's shard of the reduced "
    "gradient in p.grad: drop it if the program is to do what it did"
)
RAN_FLAT = (
    "FSDP1 ran this hook once a unit, with the flat gradient before it was reduced; under FSDP2 "
    "it runs for each parameter, with this rank's shard of the reduced gradient"
)


def survey(facts: Facts) -> Iterator[Finding]:
    """Look at each hook that a parameter of a wrapped model gets."""
    for module, node in attributes(facts, {HOOK, POST_ACCUMULATE}):
        found = owners(facts, node.value) or model_of(facts, node.value)
        if not found:
            continue
        original = {use_orig_params(facts, wrapped) for wrapped in found}
        if node.attr == HOOK:
            if original == {True}:
                continue  # it never ran, and doesn't now
            message, tier = LOST, Tier.MANUAL if False in original else Tier.NOTE
        else:
            message, tier = RAN_FLAT if original == {False} else NEVER_RAN, Tier.NOTE
        yield finding_at(RULE, module, node, message, tier=tier, models=facts.models(found))


RULE = Rule(
    code="FSDP413",
    name="parameter-hooks",
    summary="`p.register_hook`, `p.register_post_accumulate_grad_hook`",
    why=(
        "Neither FSDP gives autograd the parameters that a program sees.  FSDP1's flat parameters "
        "ran all their hooks, its original ones none; FSDP2's run those that follow the reduction."
    ),
    fix_safety="There is no fix: what the hook is for decides where it belongs.",
    left=(
        "A hook on FSDP1's flat parameter, which never runs under FSDP2: use "
        "register_post_accumulate_grad_hook, which sees this rank's shard of the reduced "
        "gradient."
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/generated/"
        "torch.Tensor.register_post_accumulate_grad_hook.html",
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def main(net, step):
    model = FSDP(net, use_orig_params=True)
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    return model
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def main(net, step):
    model = fully_shard(net)
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    return model
""",
        ),
    ),
)
