"""`with enable_wrap(wrapper_cls=FSDP, ...): wrap(module)` becomes `fully_shard(module, ...)`."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.edits import Edit, LeaveContext
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.wraps import contexts_left, models_in, native_form, plan_of
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding
from fsdp_migrate.syntax.fsdp1_names import ROOT

ENABLE = f"{ROOT}.wrap.enable_wrap"
WRAP = f"{ROOT}.wrap.wrap"


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Write out what `wrap` does, and leave the contexts that say how."""
    if use.name == ENABLE and use.call in contexts_left(facts) and _is_entered(use):
        assert use.call is not None
        edits: list[Edit] = [LeaveContext(use.module.span(use.call))]
        models = models_in(facts, use.call)
        message = "enable_wrap(...) goes: what it says is at the calls inside"
        yield finding(RULE, use, message, tier=Tier.NATIVE, edits=edits, models=models)
    plan = plan_of(use, facts)
    if use.name == WRAP and plan is not None and plan.native and plan.fact.contexts:
        together = (models_in(facts, c) for c in plan.fact.contexts if c is not None)
        yield finding(
            RULE,
            use,
            "wrap(...) becomes fully_shard(...)",
            tier=Tier.NATIVE,
            edits=native_form(facts, plan),
            models=frozenset[str]().union(*together),
        )


def _is_entered(use: Use) -> bool:
    return use.call is not None and isinstance(use.module.parents[use.call], ast.withitem)


NATIVE = (Tier.NATIVE,)

RULE = Rule(
    code="FSDP120",
    name="wrap-context",
    summary="`enable_wrap` goes, and `wrap(module)` becomes `fully_shard(module)`",
    why="`fully_shard` works in place: a module is sharded where it is made.",
    fix_safety=(
        "Safe: the same modules are sharded at the same places, with the arguments of the context "
        "around the call."
    ),
    needs=(
        "every call of `wrap` runs in one context, which names FSDP's class",
        "the arguments of the context are in reach at the calls",
    ),
    check=check,
    symbols=(ENABLE, WRAP),
    surfaces=(
        Surface("wrap.enable_wrap", "nothing; the shim's, where it is open or not", NATIVE),
        Surface("wrap.wrap", "`fully_shard`; the shim's, where no context is sure", NATIVE),
    ),
    references=("https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",),
    examples=(
        Example(
            before="""\
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import enable_wrap, wrap


def build():
    with enable_wrap(wrapper_cls=FSDP, use_orig_params=True):
        return nn.Sequential(wrap(nn.Linear(4, 4)), nn.Linear(4, 4))
""",
            after="""\
from torch import nn
from torch.distributed.fsdp import fully_shard


def build():
    return nn.Sequential(fully_shard(nn.Linear(4, 4)), nn.Linear(4, 4))
""",
        ),
    ),
)
