"""`type(m) is Block`, `type(m).__name__`, `m.__class__`: which class a sharded module has."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.findings.code import Kept, Literal, Part, attribute, code
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.class_identity import (
    ClassAsked,
    Whose,
    classes_asked,
    original_class,
)
from fsdp_migrate.rule.queries.class_names import (
    has_no_subclasses,
    items,
    may_begin_so,
    test_of_name,
    tests_sharded,
)
from fsdp_migrate.rule.queries.sharded_tensor_api import every_model
from fsdp_migrate.rule.queries.type_handed_on import type_handed_on
from fsdp_migrate.rule.queries.values import library_name
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses

PREFIX = Literal("FSDP")
NEGATIVE = ast.IsNot | ast.NotEq | ast.NotIn
TAKE_CLASS = frozenset({"builtins.issubclass", "builtins.super"})
CHANGED = "fully_shard makes FSDPBlock of the class Block"
INSTEAD = f"{CHANGED}: ask isinstance, or type(m).__bases__[1] of an FSDPModule"
GONE = "; FSDP1's wrappers, of the class FullyShardedDataParallel, are not met any more"
SET = f"{CHANGED}: what is set here is set on that class, or takes its place; name the original"
WRAPPER = f"this was FSDP1's class, FullyShardedDataParallel: {CHANGED}, and has no wrapper"


def survey(facts: Facts) -> Iterator[Finding]:
    """Look at each place that asks for the class of what may be sharded."""
    for asked in classes_asked(facts):
        if asked.whose is Whose.MAYBE and _is_in_words(asked):
            continue  # nothing is decided by the class that a message names
        found = _named(asked, facts) if asked.name else _class(asked, facts)
        if found is not None:
            yield found
    for module, node in type_handed_on(facts):
        yield finding_at(RULE, module, node, INSTEAD, tier=Tier.MANUAL, models=every_model(facts))


def _is_in_words(asked: ClassAsked) -> bool:
    """Whether the class is a part of the message of an exception."""
    around = asked.module.ancestors(asked.whole)
    words = any(
        isinstance(node, ast.FormattedValue) for node in asked.module.ancestors(asked.whole)
    )
    return words and any(isinstance(node, ast.Raise) for node in around)


# ---------------------------------------------------------------------- the class
def _class(asked: ClassAsked, facts: Facts) -> Finding | None:
    parent = asked.module.parents[asked.whole]
    if not isinstance(getattr(asked.node, "ctx", None), ast.Load | None):
        return _said(asked, facts, SET, Tier.MANUAL) if asked.whose is not Whose.UNKNOWN else None
    if isinstance(parent, ast.Compare):
        return _compared(asked, facts, parent)
    if asked.whose is Whose.UNKNOWN or isinstance(parent, ast.Expr):
        return None
    if isinstance(parent, ast.Attribute):
        return None if isinstance(parent.ctx, ast.Load) else _said(asked, facts, SET, Tier.MANUAL)
    if isinstance(parent, ast.Call):
        takes = library_name(facts.value(parent.func)) in TAKE_CLASS
        if parent.func is asked.whole or (takes and parent.args[:1] == [asked.whole]):
            return None
    return _elsewhere(asked, facts)


def _compared(asked: ClassAsked, facts: Facts, compare: ast.Compare) -> Finding | None:
    """`type(m) is Block`, `type(m) in (Block, Other)`."""
    if asked.whose is Whose.WRAPPER:
        return None
    sides, op = [compare.left, *compare.comparators], compare.ops[0]
    others = [side for side in sides if side is not asked.whole]
    listed = items(others[0]) if isinstance(op, ast.In | ast.NotIn) else others
    meant = tests_sharded(facts, asked, listed) if listed is not None else None
    known = meant or asked.beside in (Whose.INNER, Whose.MAYBE)
    if meant is False or (asked.whose is Whose.UNKNOWN and not known):
        return None
    if asked.beside is Whose.WRAPPER:
        return None
    if meant and len(others) == 1 and listed and has_no_subclasses(facts, listed):
        test = code(
            "isinstance({instance}, {classes})",
            instance=Kept(asked.module.span(asked.instance)),
            classes=_classes(asked, listed, others[0]),
        )
        if isinstance(op, NEGATIVE):
            test = code("not {test}", test=test)
        return _native(asked, facts, compare, test, "no class derives from it: isinstance asks so")
    return _elsewhere(asked, facts, compared=True)


def _classes(asked: ClassAsked, listed: list[ast.expr], other: ast.expr) -> Part:
    if listed == [other]:
        return Kept(asked.module.span(other))
    return code("({every},)", every=tuple(Kept(asked.module.span(item)) for item in listed))


def _elsewhere(asked: ClassAsked, facts: Facts, *, compared: bool = False) -> Finding | None:
    """The class is compared with any class, kept, or used as a key: it has to be the original."""
    if asked.whose is Whose.WRAPPER:
        return _said(asked, facts, WRAPPER, Tier.NOTE)
    original = original_class(asked)
    if original is None:
        return _said(asked, facts, INSTEAD, Tier.MANUAL)
    return _native(asked, facts, asked.whole, original, "the original is its base", compared)


# ---------------------------------------------------------------------- its name
def _named(asked: ClassAsked, facts: Facts) -> Finding | None:
    compared, matters = test_of_name(facts, asked)
    if asked.whose is Whose.WRAPPER:
        return None if compared else _said(asked, facts, WRAPPER, Tier.NOTE)
    if not matters or (asked.whose is Whose.UNKNOWN and not compared):
        return None
    if asked.name == "__name__" and (asked.whose is Whose.INNER or not may_begin_so(facts)):
        whole = Kept(asked.module.span(asked.whole))
        new: Part | None = code("{name}.removeprefix({prefix})", name=whole, prefix=PREFIX)
    else:
        original = original_class(asked)
        is_made = isinstance(asked.whole, ast.Attribute) and asked.whole is not asked.node
        new = attribute(original, asked.name) if original is not None and is_made else None
    if new is None:
        return _said(asked, facts, INSTEAD, Tier.MANUAL)
    return _native(asked, facts, asked.whole, new, "the name stays the original one", compared)


# ---------------------------------------------------------------------- what is said
def _native(
    asked: ClassAsked, facts: Facts, place: ast.expr, new: Part, why: str, compared: bool = True
) -> Finding:
    wrappers = not compared and (asked.from_modules or asked.may_be_wrapper)
    return finding_at(
        RULE,
        asked.module,
        asked.whole,
        f"{CHANGED}; {why}{GONE if wrappers else ''}",
        tier=Tier.NATIVE,
        safety=Safety.UNSAFE if wrappers else Safety.SAFE,
        edits=[ReplaceExpression(asked.module.span(place), new)],
        models=facts.models(asked.classes.models),
    )


def _said(asked: ClassAsked, facts: Facts, message: str, tier: Tier) -> Finding:
    return finding_at(
        RULE,
        asked.module,
        asked.whole,
        message,
        tier=tier,
        models=facts.models(asked.classes.models),
    )


RULE = Rule(
    code="FSDP411",
    name="class-identity",
    summary="`type(m) is Block`, `type(m).__name__`: the class of a sharded module",
    why=(
        "`fully_shard` puts a class on top of that of each module that it shards: `FSDPBlock`, "
        "which derives from `Block`.  Tests for exactly `Block` fail, and names have a prefix."
    ),
    fix_safety=(
        "Safe: isinstance takes the place of a test for one class only where no class of the "
        "program derives from it; otherwise the original class, or its name, is asked for.  "
        "Unsafe where what was asked could be FSDP1's wrapper, whose class is gone."
    ),
    left=(
        "A class that is kept or used as a key: ask isinstance, or take the original class as "
        "type(m).__bases__[1] of an FSDPModule."
    ),
    needs=("what is asked for its class is no wrapper of FSDP1's",),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_fully_shard/_fully_shard.py",
    ),
    examples=(
        Example(
            before="""\
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import ModuleWrapPolicy


class Block(nn.Linear):
    pass


def build(net):
    model = FSDP(net, auto_wrap_policy=ModuleWrapPolicy({Block}))
    return model, [m for m in model.modules() if type(m) is Block]
""",
            after="""\
from torch import nn
from torch.distributed.fsdp import fully_shard


class Block(nn.Linear):
    pass


def build(net):
    for module in net.modules():
        if isinstance(module, Block):
            fully_shard(module)
    model = fully_shard(net)
    return model, [m for m in model.modules() if isinstance(m, Block)]
""",
        ),
    ),
)
