"""`model.module` becomes `model`: FSDP2 puts no wrapper around the module."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import NOTHING, Kept, Name, Part, code, either
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.class_tests import are_classes
from fsdp_migrate.rule.queries.inner_modules import identities
from fsdp_migrate.rule.queries.module_tests import (
    is_harmless,
    is_test,
    taken_by_name,
    tests_for_wrappers,
)
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding, finding_at
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.unwrapping import unwrapping

FSDP_MODULE = Name(ROOT, "FSDPModule")
COMPARED = "; it was another object than the model, and a comparison of the two holds now"


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Drop the attribute, or look for it where the model may have a real one."""
    assert use.receiver is not None
    if _is_unwrapping(use, facts) or _asked_for(use, facts):
        return  # runs for real wrappers only, which FSDP2 is none of
    message, edit = _edit(use, use.receiver)
    compared = _is_compared(use, facts)
    yield finding(
        RULE,
        use,
        message + (COMPARED if compared else ""),
        tier=Tier.NATIVE,
        edits=[edit],
        safety=Safety.UNSAFE if compared else Safety.SAFE,
        models=facts.models(use.wraps),
    )


def _is_compared(use: Use, facts: Facts) -> bool:
    """Whether the module inside is compared with what can be the wrapper."""
    parent = use.module.parents[use.node]
    if not isinstance(parent, ast.Compare):
        return False
    return any(
        models(facts.value(side))
        for side in (parent.left, *parent.comparators)
        if side is not use.node
    )


def _edit(use: Use, receiver: ast.expr) -> tuple[str, Edit]:
    """What becomes of the attribute, in words and as an edit."""
    module = use.module
    model = Kept(module.span(receiver))
    if not use.certain:
        there = code('getattr({model}, "module", {model})', model=model)
        edit = ReplaceExpression(module.span(use.node), there)
        return "model.module, if there is a wrapper", edit
    choice = _choice(use, receiver)
    if choice is not None:
        edit = ReplaceExpression(module.span(choice), model)
        return "model.module or model: both are the model now", edit
    statement = module.parents[use.node]
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        if same(statement.targets[0], receiver):
            gone = ReplaceStatement(module.span(statement), NOTHING)
            return "the model is bound to itself: there is no wrapper to take off", gone
    return "model.module becomes model", ReplaceExpression(module.span(use.node), model)


def _is_unwrapping(use: Use, facts: Facts) -> bool:
    """Whether the place is reached only after a test for classes, of which FSDP is dropped."""
    found = unwrapping(use.module, use.node)
    return found is not None and are_classes(facts, found.classes)


def _choice(use: Use, receiver: ast.expr) -> ast.IfExp | None:
    """`m.module if <m is wrapped> else m`, which is `m` either way."""
    parent = use.module.parents[use.node]
    if isinstance(parent, ast.IfExp) and parent.test is not use.node:
        other = parent.orelse if parent.body is use.node else parent.body
        return parent if same(other, receiver) else None
    return None


def _asked_for(use: Use, facts: Facts) -> bool:
    """Whether the place is reached only if `hasattr(model, "module")`, which goes on to hold for
    other wrappers alone."""
    child: ast.AST = use.node
    for parent in use.module.ancestors(use.node):
        if isinstance(parent, ast.If | ast.IfExp | ast.While):
            test, reached = parent.test, parent.body
            if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                test, reached = test.operand, parent.orelse
            body = reached if isinstance(reached, list) else [reached]
            if child in body and isinstance(test, ast.Call) and is_test(facts, test):
                if same(test.args[0], use.receiver) and is_harmless(use.module, test):
                    return True
        child = parent
    return False


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at what depends on a wrapper by its name in a string, which FSDP2's models lack."""
    for module, asking in tests_for_wrappers(facts):
        yield _by_name(facts, module, asking, "what depends on it is done for them as well")
    for module, compare, wraps in identities(facts):
        yield finding_at(
            RULE,
            module,
            compare,
            "the model is compared with the module inside of it: these were two objects, and are "
            "one now, so that the comparison comes out otherwise",
            tier=Tier.NOTE,
            safety=Safety.UNSAFE,
            models=facts.models(wraps),
        )
    for module, asking in taken_by_name(facts):
        yield _by_name(facts, module, asking, "it is the model itself")


def _by_name(facts: Facts, module: Module, asking: ast.Call, why: str) -> Finding:
    value = facts.value(asking.args[0])
    found = models(value)
    model, kept = Kept(module.span(asking.args[0])), Kept(module.span(asking))
    test = code("isinstance({model}, {fsdp})", model=model, fsdp=FSDP_MODULE)
    new: Part
    if is_test(facts, asking):
        new = either(test, kept) if value - found else test
    elif value - found:
        new = code("{model} if {test} else {kept}", model=model, test=test, kept=kept)
    else:
        new = model
    return finding_at(
        RULE,
        module,
        asking,
        f"FSDP2's models have no module inside: {why}",
        tier=Tier.NATIVE,
        edits=[ReplaceExpression(module.span(asking), new)],
        models=facts.models(found),
    )


RULE = Rule(
    code="FSDP402",
    name="module-attribute",
    summary="`model.module` becomes `model`",
    why="`fully_shard` works in place, so that the model is the module.",
    fix_safety="Safe: it is the same object.  Unsafe where it is compared with the wrapper.",
    needs=(
        "the receiver is an FSDP1 model and nothing else",
        "it isn't compared with the wrapper",
    ),
    check=check,
    survey=survey,
    methods=("module", "_fsdp_wrapped_module"),
    surfaces=(Surface("FullyShardedDataParallel.module", "the model"),),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def config_of(net):
    model = FSDP(net)
    return model.module.config
""",
            after="""\
from torch.distributed.fsdp import fully_shard

def config_of(net):
    model = fully_shard(net)
    return model.config
""",
        ),
    ),
)
