"""`type(m) is Block`, `type(m).__name__`, `m.__class__`: which class a sharded module has."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.findings.code import Kept, Literal, Name, Part, attribute, code
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.class_identity import ClassAsked, Whose, classes_asked
from fsdp_migrate.rule.queries.class_names import (
    found_by_prefix,
    has_no_subclasses,
    is_named,
    items,
    may_begin_so,
    read_by,
    tests_sharded,
    words_in,
)
from fsdp_migrate.rule.queries.values import library_name
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.fsdp1_names import ROOT

FSDP_MODULE = Name(ROOT, "FSDPModule")
PREFIX = Literal("FSDP")
SINGLE = ast.Is | ast.Eq | ast.IsNot | ast.NotEq
NEGATIVE = ast.IsNot | ast.NotEq | ast.NotIn
TAKE_CLASS = frozenset({"builtins.issubclass", "builtins.super"})
FINDING_WORDS = frozenset({"count", "endswith", "find", "index", "rfind", "rindex"})
CHANGED = "fully_shard makes FSDPBlock of the class Block"


def survey(facts: Facts) -> Iterator[Finding]:
    """Look at each place that asks for the class of what may be sharded."""
    for asked in classes_asked(facts):
        found = _named(asked, facts) if asked.name else _class(asked, facts)
        if found is not None:
            yield found


# ---------------------------------------------------------------------- the class
def _class(asked: ClassAsked, facts: Facts) -> Finding | None:
    parent = asked.module.parents[asked.whole]
    if isinstance(parent, ast.Compare):
        return _compared(asked, facts, parent)
    if asked.whose is Whose.UNKNOWN or isinstance(parent, ast.Expr):
        return None
    if isinstance(parent, ast.Attribute):
        return None if isinstance(parent.ctx, ast.Load) else _set(asked, facts)
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
    if meant is False or (meant is None and asked.whose is Whose.UNKNOWN):
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
        return _note(asked, facts)
    original = _original(asked)
    if original is None:
        return _manual(asked, facts)
    return _native(asked, facts, asked.whole, original, "the original is its base", compared)


def _original(asked: ClassAsked) -> Part | None:
    """The class without what `fully_shard` put on top of it."""
    kept = Kept(asked.module.span(asked.node))
    of_sharded = code("{cls}.__bases__[1]", cls=kept)
    if asked.whose is Whose.INNER:
        return of_sharded
    if not asked.is_repeatable:
        return None
    return code(
        "{of_sharded} if isinstance({instance}, {fsdp}) else {cls}",
        of_sharded=of_sharded,
        instance=Kept(asked.module.span(asked.instance)),
        fsdp=FSDP_MODULE,
        cls=kept,
    )


# ---------------------------------------------------------------------- its name
def _named(asked: ClassAsked, facts: Facts) -> Finding | None:
    compared, matters = _test_of_name(asked, facts)
    if asked.whose is Whose.WRAPPER:
        return None if compared else _note(asked, facts)
    if not matters or (asked.whose is Whose.UNKNOWN and not compared):
        return None
    if asked.name == "__name__" and (asked.whose is Whose.INNER or not may_begin_so(facts)):
        whole = Kept(asked.module.span(asked.whole))
        new: Part | None = code("{name}.removeprefix({prefix})", name=whole, prefix=PREFIX)
    else:
        original = _original(asked)
        is_made = isinstance(asked.whole, ast.Attribute) and asked.whole is not asked.node
        new = attribute(original, asked.name) if original is not None and is_made else None
    if new is None:
        return _manual(asked, facts)
    return _native(asked, facts, asked.whole, new, "the name stays the original one", compared)


def _test_of_name(asked: ClassAsked, facts: Facts) -> tuple[bool, bool]:
    """Whether the name is only tested, and whether the prefix may matter there."""
    node, folded = read_by(asked.module, asked.whole)
    parent = asked.module.parents[node]
    unknown = asked.whose is not Whose.UNKNOWN
    if isinstance(parent, ast.Expr):
        return True, False
    if isinstance(parent, ast.Compare) and len(parent.ops) == 1:
        op = parent.ops[0]
        other = parent.comparators[0] if parent.left is node else parent.left
        words = words_in(facts, other)
        if words is None:
            return True, unknown
        if isinstance(op, ast.In | ast.NotIn) and parent.left is not node:
            return True, any(found_by_prefix(facts, asked, w, folded=folded) for w in words)
        return True, any(folded or is_named(facts, asked, word) for word in words)
    called = asked.module.parents[parent] if isinstance(parent, ast.Attribute) else None
    if isinstance(parent, ast.Attribute) and isinstance(called, ast.Call) and called.args:
        words = words_in(facts, called.args[0])
        if parent.attr in FINDING_WORDS and words is not None:
            return True, any(found_by_prefix(facts, asked, w, folded=folded) for w in words)
        if parent.attr in {"startswith", "removeprefix"}:
            return True, unknown and words != ["FSDP"]
    return False, True


# ---------------------------------------------------------------------- what is said
def _native(
    asked: ClassAsked,
    facts: Facts,
    place: ast.expr,
    new: Part,
    why: str,
    compared: bool = True,
) -> Finding:
    wrappers = not compared and (asked.from_modules or asked.may_be_wrapper)
    more = "; FSDP1's wrappers, of the class FullyShardedDataParallel, are not met any more"
    return finding_at(
        RULE,
        asked.module,
        asked.whole,
        f"{CHANGED}; {why}{more if wrappers else ''}",
        tier=Tier.NATIVE,
        safety=Safety.UNSAFE if wrappers else Safety.SAFE,
        edits=[ReplaceExpression(asked.module.span(place), new)],
        models=facts.models(asked.classes.models),
    )


def _manual(asked: ClassAsked, facts: Facts) -> Finding:
    message = f"{CHANGED}: ask isinstance, or type(m).__bases__[1] of an FSDPModule"
    return _said(asked, facts, message, Tier.MANUAL)


def _set(asked: ClassAsked, facts: Facts) -> Finding:
    message = f"{CHANGED}: what is set here is set on that class, name the original"
    return _said(asked, facts, message, Tier.MANUAL)


def _note(asked: ClassAsked, facts: Facts) -> Finding:
    message = f"this was FSDP1's class, FullyShardedDataParallel: {CHANGED}, and has no wrapper"
    return _said(asked, facts, message, Tier.NOTE)


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
