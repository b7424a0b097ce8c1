"""The class `FullyShardedDataParallel` where it isn't called: `isinstance`, annotations, values.

A sharded model is an `FSDPModule`.  As a value that something else calls (`partial(FSDP, ...)`,
`enable_wrap(wrapper_cls=FSDP)`) the class becomes the shim's constructor function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import Code, Hole, Kept, Name, Quoted, code
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.class_flow import is_read_as_given
from fsdp_migrate.rule.queries.class_tests import (
    Place,
    comparisons_of_name,
    instance_asked,
    is_class_name,
    place_of,
)
from fsdp_migrate.rule.queries.class_values import (
    in_the_way,
    is_bound_by_instances,
    made_by_value,
)
from fsdp_migrate.rule.queries.edits_by_file import edits_by_file
from fsdp_migrate.rule.queries.inner_modules import is_inner
from fsdp_migrate.rule.queries.parameters import rewritable
from fsdp_migrate.rule.queries.quoted_annotations import quoted_annotations
from fsdp_migrate.rule.queries.unwrapped import without_class
from fsdp_migrate.rule.queries.values import from_library, models
from fsdp_migrate.rule.queries.wraps import (
    WrapPlan,
    left_of_partial,
    native_form,
    of_partial,
    why_not_partial,
    without_arguments,
)
from fsdp_migrate.rule.rule import Example, Rule, finding, finding_at
from fsdp_migrate.rule.shim_types import swallowed
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.unwrapping import unwrapping

MODULE = Name(ROOT, "FSDPModule")
FULLY_SHARD = Name(ROOT, "fully_shard")
FROM_FSDP1 = Name(RUNTIME, "fully_shard_from_fsdp1")
FOREIGN = "; a library gives the object that is asked, and may give one of FSDP1's still"
EQUAL = ast.Eq | ast.Is
UNEQUAL = ast.NotEq | ast.IsNot
# What is said where the class can't be one thing or the other.
UNCLEAR = {
    Place.BOTH: (
        "FSDP is passed on to where it is asked for by isinstance and used for something else: "
        "pass FSDPModule for the test, and fully_shard for the call"
    ),
    Place.KEY: (
        "something is found by the class FSDP, and no model is of that class any more: find it by "
        "isinstance(model, FSDPModule), or by a name of your own"
    ),
    Place.UNSEEN: (
        "FSDP is given to a library: give it FSDPModule if it asks what is an instance of it, "
        "and fully_shard if it calls it"
    ),
}


OF_INNER = (
    "; it is asked of the module inside of the wrapper, which FSDP1 left as it was, and which is "
    "the model itself now: the test comes out otherwise"
)


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace a reference to the class, by what it is for."""
    if use.name != FSDP1:
        return
    plans = of_partial(use, facts)
    if plans:
        yield from _partial(use, facts, plans)
        return
    if swallowed(use, facts):
        return
    if use.call is not None and use.module.site(use.call) in facts.wraps:
        return
    parent = use.module.parents[use.node]
    if isinstance(parent, ast.ClassDef) and use.node in parent.bases:
        message = (
            f"class {parent.name} derives from FSDP; derive from the model's own class and "
            "call fully_shard on its instances"
        )
        yield finding(RULE, use, message, tier=Tier.MANUAL)
        return
    found = unwrapping(use.module, use.node)
    if found is not None and use.node in found.classes:
        message = "unwrapping skips FSDP: there is no wrapper any more"
        edits = without_class(use.module, found, use.node)
        yield finding(RULE, use, message, tier=Tier.NATIVE, edits=edits)
        return
    yield from _by_place(use, facts)


def _by_place(use: Use, facts: Facts) -> Iterator[Finding]:
    """The class by what the place is that it goes to."""
    place = place_of(facts, use.module, use.node)
    if place is Place.TEST and is_read_as_given(facts, use.module, use.node):
        return
    span = use.module.span(use.node)
    if place is Place.COMPARISON:
        yield _exact_type(use, facts)
    elif place is Place.TEST:
        edit = ReplaceExpression(span, MODULE)
        foreign = _is_foreign(use, facts)
        inner = _asks_of_inner(use, facts)
        message = "FSDP as a class becomes FSDPModule"
        message += (FOREIGN if foreign else "") + (OF_INNER if inner else "")
        safety = Safety.UNSAFE if foreign or inner else Safety.SAFE
        yield finding(RULE, use, message, tier=Tier.NATIVE, edits=[edit], safety=safety)
    elif place in UNCLEAR:
        yield finding(RULE, use, UNCLEAR[place], tier=Tier.MANUAL)
    else:
        yield _value(use, facts)


def _asks_of_inner(use: Use, facts: Facts) -> bool:
    """Whether it is asked of the module inside of a wrapper, which FSDP1 left as it was."""
    asking = next((a for a in use.module.ancestors(use.node) if isinstance(a, ast.Call)), None)
    return asking is not None and bool(asking.args) and is_inner(facts, use.module, asking.args[0])


def _value(use: Use, facts: Facts) -> Finding:
    """The class as a function that shards."""
    span, models = use.module.span(use.node), made_by_value(facts, use.module)
    why = why_not_partial(use, facts) or in_the_way(facts, use.module, use.node)
    if why:
        edit = ReplaceExpression(span, FROM_FSDP1)
        message = f"FSDP as a function that shards becomes fully_shard_from_fsdp1: {why}"
        return finding(RULE, use, message, tier=Tier.SHIM, edits=[edit])
    edit = ReplaceExpression(span, FULLY_SHARD)
    if is_bound_by_instances(facts, use.module, use.node):
        edit = ReplaceExpression(span, code("staticmethod({function})", function=FULLY_SHARD))
    message = "FSDP as a function that shards becomes fully_shard"
    return finding(RULE, use, message, tier=Tier.NATIVE, edits=[edit], models=models)


def _partial(use: Use, facts: Facts, plans: tuple[WrapPlan, ...]) -> Iterator[Finding]:
    """A partial of the class, written out where it stands or where it is called."""
    edits = [(use.module, edit) for plan in plans for edit in native_form(facts, plan)]
    edits += [found for plan in plans for found in without_arguments(plan)]
    edits += [(use.module, edit) for edit in left_of_partial(use, plans)]
    models = facts.models(model for plan in plans for model in plan.models)
    residues = any(plan.parts.residues for plan in plans)
    tier = Tier.SHIM if residues else Tier.NATIVE
    message = f"a partial of FSDP becomes {_made(plans)}"
    for found in edits_by_file(edits):
        node = use.node if found.module is use.module else found.first
        yield finding_at(
            RULE, found.module, node, message, tier=tier, edits=found.edits, models=models
        )


def _made(plans: tuple[WrapPlan, ...]) -> str:
    left = [residue for plan in plans for residue in plan.parts.residues]
    if left:
        return f"fully_shard(...), with {left[0].function}() for `{left[0].parameter}`"
    if all(plan.calls for plan in plans) and plans[0].function is not None:
        return "a function that shards what it is given"
    return "fully_shard(...)"


def _is_foreign(use: Use, facts: Facts) -> bool:
    """Whether it is asked of what a library gives, and of none of the program's models."""
    for around in use.module.ancestors(use.node):
        if isinstance(around, ast.Call) and len(around.args) == 2:
            value = facts.value(around.args[0])
            return from_library(value) and not models(value)
        if isinstance(around, ast.stmt):
            break
    return False


def _exact_type(use: Use, facts: Facts) -> Finding:
    """`type(m) is FSDP`, and tests of whether FSDP could be imported."""
    compare = next(a for a in use.module.ancestors(use.node) if isinstance(a, ast.Compare))
    left, op, right = compare.left, compare.ops[0], compare.comparators[0]
    other = left if right is use.node else right
    instance = instance_asked(facts, other)
    if instance is not None and len(compare.ops) == 1 and isinstance(op, EQUAL | UNEQUAL):
        test = _is_sharded(use.module, instance, positive=isinstance(op, EQUAL))
        edit = ReplaceExpression(use.module.span(compare), test)
        message = "a comparison with FSDP's type becomes isinstance(..., FSDPModule)"
        return finding(RULE, use, message, tier=Tier.NATIVE, edits=[edit])
    if isinstance(other, ast.Constant) and other.value is None:
        edit = ReplaceExpression(use.module.span(use.node), FULLY_SHARD)
        message = "the test for an importable FSDP becomes one for fully_shard"
        return finding(RULE, use, message, tier=Tier.NATIVE, edits=[edit])
    message = "FSDP is compared with something; a sharded model is an FSDPModule, rewrite the test"
    return finding(RULE, use, message, tier=Tier.MANUAL)


def _is_sharded(module: Module, instance: ast.expr, *, positive: bool) -> Code:
    model = Kept(module.span(instance))
    if positive:
        return code("isinstance({model}, {fsdp_module})", model=model, fsdp_module=MODULE)
    return code("not isinstance({model}, {fsdp_module})", model=model, fsdp_module=MODULE)


def survey(facts: Facts) -> Iterable[Finding]:
    """The class in annotations that are strings, and by its name."""
    for module in rewritable(facts):
        for node, instance in comparisons_of_name(facts, module):
            test = _without_name(facts, module, node, instance)
            yield finding_at(
                RULE,
                module,
                node,
                "a sharded model has a class of its own, named FSDP and the model's class: "
                "isinstance(..., FSDPModule) finds it",
                tier=Tier.NATIVE if test is not None else Tier.MANUAL,
                edits=[ReplaceExpression(module.span(node), test)] if test is not None else [],
            )
        for quoted, around in quoted_annotations(facts, module):
            pieces = tuple(piece for text in around for piece in (text, MODULE))[:-1]
            quote = "'" if module.segment(quoted).endswith("'") else '"'
            edit = ReplaceExpression(module.span(quoted), Quoted(pieces, quote))
            message = "FSDP as an annotation becomes FSDPModule"
            yield finding_at(RULE, module, quoted, message, tier=Tier.NATIVE, edits=[edit])


def _without_name(
    facts: Facts, module: Module, node: ast.Compare, instance: ast.expr
) -> Code | None:
    """The test that does without the name of FSDP1's class."""
    if len(node.ops) != 1:
        return None
    op, names = node.ops[0], node.comparators[0]
    if isinstance(op, EQUAL | UNEQUAL):
        return _is_sharded(module, instance, positive=isinstance(op, EQUAL))
    if not isinstance(op, ast.In | ast.NotIn) or not isinstance(
        names, ast.Tuple | ast.List | ast.Set
    ):
        return None
    is_in = isinstance(op, ast.In)
    sharded = _is_sharded(module, instance, positive=is_in)
    others = tuple(Kept(module.span(n)) for n in names.elts if not is_class_name(facts, n))
    asked = Kept(module.span(node.left))
    if not others:
        return sharded
    holes: dict[str, Hole] = {"sharded": sharded, "asked": asked}
    if len(others) == 1:
        if is_in:
            return code("{sharded} or {asked} == {other}", other=others[0], **holes)
        return code("{sharded} and {asked} != {other}", other=others[0], **holes)
    if is_in:
        return code("{sharded} or {asked} in ({others},)", others=others, **holes)
    return code("{sharded} and {asked} not in ({others},)", others=others, **holes)


RULE = Rule(
    code="FSDP401",
    name="class-reference",
    summary="`isinstance(x, FSDP)`, annotations, and the class as a value",
    why="`fully_shard` changes the class of the module in place; it has no wrapper class.",
    left=(
        "A class that derives from FSDP, and FSDP handed to what can't be seen: derive from the"
        " model's own class and call fully_shard on its instances; pass FSDPModule where "
        "isinstance is asked and fully_shard where it is called."
    ),
    by_hand=(
        "put a function of your own in the place of the class, which calls fully_shard on the "
        "units and then on the model, and returns the model"
    ),
    fix_safety=(
        "Safe: exactly the modules that were wrapped are instances of FSDPModule.  Unsafe where a "
        "library gives the object, which may be one of FSDP1's still."
    ),
    needs=(
        "the models that it speaks of are migrated",
        "what is tested is no object of a library",
    ),
    check=check,
    symbols=(FSDP1,),
    survey=survey,
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def is_sharded(model):
    return isinstance(model, FSDP)
""",
            after="""\
from torch.distributed.fsdp import FSDPModule

def is_sharded(model):
    return isinstance(model, FSDPModule)
""",
        ),
    ),
)
