"""`model.check_is_root()`: FSDP2 keeps no public mark of the root."""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.code import Kept, Literal, Part, code
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.models import is_the_only_model
from fsdp_migrate.rule.queries.roots import is_root, root_of_loop
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding
from fsdp_migrate.syntax.paths import path_of


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Answer the question where there is one answer."""
    units = facts.models(use.wraps)
    known = _answer(use, facts)
    if use.call is not None and known is not None:
        answer, why = known
        yield finding(
            RULE,
            use,
            why,
            tier=Tier.NATIVE,
            edits=[ReplaceExpression(use.module.span(use.call), answer)],
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


def _answer(use: Use, facts: Facts) -> tuple[Part, str] | None:
    """What check_is_root() says, and how that is known."""
    if use.receiver is None or path_of(use.receiver) is None:  # else it is made here
        return None
    span = use.module.span
    root = root_of_loop(facts, use.module, use.receiver)
    if root is not None:
        test = code("{unit} is {root}", unit=Kept(span(use.receiver)), root=Kept(span(root)))
        return test, "the root of a model is the module that was sharded last"
    if not use.certain:
        return None
    if is_the_only_model(facts, use.wraps):
        return Literal(True), "the program wraps one model, and this is it: check_is_root() is True"
    known = is_root(facts, use.wraps)
    if known is None:
        return None
    kind = "the root of its model" if known else "a unit inside another one"
    return Literal(known), f"this is {kind}: check_is_root() is {known}"


RULE = Rule(
    code="FSDP409",
    name="root-test",
    summary="`model.check_is_root()` becomes what it is known to be",
    why="Which unit is the root is private to FSDP2, and decided in the first forward.",
    fix_safety="Safe: where the model was wrapped, or the loop it comes from, says which it is.",
    left=(
        "Where a module may be a root or not: compare it with the model that you gave to the "
        "last fully_shard call."
    ),
    needs=("the model is known to be the root, or to come from a loop over its units",),
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
