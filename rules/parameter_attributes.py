"""What a program sets on parameters before the wrap is copied to the new ones.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

`fully_shard` puts new parameters in the place of the old ones, without the attributes that were
set on these: `p.lr_mult = 0.1`, `weight._no_weight_decay = True`.  Whoever asks for them after the
wrap would find none, and train everything alike.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import use_orig_params
from fsdp_migrate.rule.queries.wraps import plans_with_attributes
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses


def survey(facts: Facts) -> Iterable[Finding]:
    """Say what is copied at each wrap."""
    for plan, names in plans_with_attributes(facts):
        (wrapped,) = plan.models
        if plan.parts.tied:
            yield finding_at(
                RULE,
                plan.fact.module,
                plan.fact.node,
                f"{_said(plan.parts.tied)}, set on parameters, holds a parameter: copied to the "
                "new ones it would go on with the old one, which never trains; set it again below "
                "fully_shard",
                tier=Tier.MANUAL,
                models=facts.models(plan.models),
            )
            continue
        unsure = "" if use_orig_params(facts, wrapped) else UNSURE
        yield finding_at(
            RULE,
            plan.fact.module,
            plan.fact.node,
            f"what is set on parameters ({_said(names)}) is copied to the new ones{unsure}",
            tier=Tier.NOTE,
            models=facts.models(plan.models),
        )


def _said(names: Iterable[str]) -> str:
    known = sorted(set(names) - {"*"})
    return ", ".join(f"`{name}`" for name in known) or "attributes named at run time"


UNSURE = (
    "; FSDP1 kept it with use_orig_params=True alone: if that was off, the copy changes what trains"
)

RULE = Rule(
    code="FSDP511",
    name="parameter-attributes",
    summary="attributes that are set on parameters before the wrap are copied to the new ones",
    why=(
        "`fully_shard` makes new parameters, and they lack what a program has set on the old ones: "
        "groups that are chosen by such an attribute would come out empty, without a message."
    ),
    fix_safety=(
        "Safe: they are copied where a wrap may have one of these parameters, may run after the "
        "attribute is set, and the attribute may be read later; with `use_orig_params=False` FSDP1 "
        "lost them too, and nothing is copied."
    ),
    left=("Attributes that hold a parameter: set them again below fully_shard."),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_fully_shard/_fsdp_param.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(net):
    net.head.weight.lr_mult = 0.1
    model = FSDP(net, use_orig_params=True)
    slow = [p for p in model.parameters() if hasattr(p, "lr_mult")]
    return model, torch.optim.SGD(slow, lr=0.01)
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def build(net):
    net.head.weight.lr_mult = 0.1
    unsharded = list(net.parameters())
    model = fully_shard(net)
    for old, new in zip(unsharded, net.parameters()):
        vars(new).update(vars(old))
    slow = [p for p in model.parameters() if hasattr(p, "lr_mult")]
    return model, torch.optim.SGD(slow, lr=0.01)
""",
        ),
    ),
)
