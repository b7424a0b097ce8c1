"""`model.check_is_root()`: FSDP2 keeps no public mark of the root."""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.code import Literal
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.models import is_the_only_model
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding
from fsdp_migrate.syntax.paths import path_of


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Answer the question where there is one answer."""
    units = facts.models(use.wraps)
    named = use.receiver is not None and path_of(use.receiver) is not None  # else it is made here
    if use.call is not None and named and use.certain and is_the_only_model(facts, use.wraps):
        yield finding(
            RULE,
            use,
            "the program wraps one model, and this is it: check_is_root() is True",
            tier=Tier.NATIVE,
            edits=[ReplaceExpression(use.module.span(use.call), Literal(True))],
            models=units,
        )
        return
    yield finding(
        RULE,
        use,
        "FSDP2 has no check_is_root: the root is the model that you gave to the last fully_shard "
        "call, so compare with that (`module is model`)",
        tier=Tier.MANUAL,
        models=units,
    )


RULE = Rule(
    code="FSDP409",
    name="root-test",
    summary="`model.check_is_root()` becomes what it is known to be",
    why="Which unit is the root is private to FSDP2, and decided in the first forward.",
    fix_safety="Safe: a program that wraps one model asks about the root.",
    needs=("the program wraps one model, which is the root",),
    check=check,
    methods=("check_is_root",),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.check_is_root",
            "what it is known to be",
            (Tier.NATIVE, Tier.MANUAL),
        ),
    ),
    references=("https://docs.pytorch.org/docs/stable/fsdp.html",),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(model):
    model = FSDP(model)
    assert model.check_is_root()
    return model
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def build(model):
    fully_shard(model)
    assert True
    return model
""",
        ),
    ),
)
