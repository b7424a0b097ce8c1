"""The class `FullyShardedDataParallel` where it isn't called: `isinstance`, annotations, values.

A sharded model is an `FSDPModule`.  As a value that something else calls (`partial(FSDP, ...)`,
`enable_wrap(wrapper_cls=FSDP)`) the class becomes the shim's constructor function.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from fsdp_migrate.analysis.values import Symbol
from fsdp_migrate.findings.finding import (
    Edit,
    Finding,
    Fix,
    Import,
    ReplaceExpression,
    ReplaceStatement,
    Tier,
)
from fsdp_migrate.rule.rule import Example, Facts, Rule, Use, finding, finding_at, runtime
from fsdp_migrate.rule.uses import symbol_of
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT, short
from fsdp_migrate.syntax.module import Module, all_annotations
from fsdp_migrate.syntax.unwrapping import Unwrapping, unwrapping

EQUAL = ast.Eq | ast.Is
UNEQUAL = ast.NotEq | ast.IsNot
TESTS = {Symbol("builtins.isinstance"), Symbol("builtins.issubclass")}


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace a reference to the class, by what it is for."""
    if use.name != FSDP1:
        return
    if use.call is not None and use.module.site(use.call) in facts.plans:
        return
    parent = use.module.parents[use.node]
    if isinstance(parent, ast.ClassDef) and use.node in parent.bases:
        yield finding(
            RULE,
            use,
            f"class {parent.name} derives from FSDP; derive from the model's own class and "
            "call fully_shard on its instances",
            tier=Tier.MANUAL,
        )
        return
    found = unwrapping(use.module, use.node)
    if found is not None and use.node in found.classes:
        yield _unwrapped(use, found)
        return
    place = _place(use, facts)
    span = use.module.span(use.node)
    if place == "class":
        yield finding(
            RULE,
            use,
            "FSDP as a class becomes FSDPModule",
            tier=Tier.NATIVE,
            edits=[ReplaceExpression(span, "FSDPModule")],
            imports=[Import(ROOT, "FSDPModule")],
        )
    elif place == "type":
        yield from _exact_type(use)
    else:
        yield finding(
            RULE,
            use,
            "FSDP as a function that shards becomes fully_shard_from_fsdp1",
            tier=Tier.SHIM,
            edits=[ReplaceExpression(span, "fully_shard_from_fsdp1")],
            imports=[runtime("fully_shard_from_fsdp1")],
        )


def _unwrapped(use: Use, found: Unwrapping) -> Finding:
    """Take FSDP out of `while isinstance(m, (DDP, FSDP)): m = m.module`: nothing wraps now."""
    span = use.module.span
    edits: list[Edit] = []
    if len(found.classes) > 1:
        rest = [item for item in found.classes if item is not use.node]
        holes = tuple(span(item) for item in rest)
        listed = ", ".join(f"{{{i}}}" for i in range(len(rest)))
        template = listed if len(rest) == 1 else f"({listed})"
        edits.append(
            ReplaceExpression(
                span(found.test),
                f"isinstance({{{len(rest)}}}, {template})",
                (*holes, span(found.test.args[0])),
            )
        )
    elif isinstance(found.statement, ast.IfExp):
        holes = (span(found.test.args[0]),)
        edits.append(ReplaceExpression(span(found.statement), "{0}", holes))
    elif not found.negated:
        gone = "{orelse}" if found.statement.orelse else ""
        edits.append(ReplaceStatement(span(found.statement), gone))
    elif found.below is None:
        edits.append(ReplaceStatement(span(found.statement), "{body}"))
    else:
        edits.append(ReplaceStatement(span(found.statement), ""))
        holes = (span(found.test.args[0]),)
        edits.append(ReplaceStatement(span(found.below), "return {0}", holes))
    return finding(
        RULE,
        use,
        "unwrapping skips FSDP: there is no wrapper any more",
        tier=Tier.NATIVE,
        edits=edits,
    )


def _place(use: Use, facts: Facts) -> str:
    """Whether the class is tested for ("class"), compared ("type"), or passed on ("value")."""
    module = use.module
    child: ast.AST = use.node
    for parent in module.ancestors(use.node):
        if isinstance(parent, ast.Call):
            if child in parent.args[1:] and facts.value(parent.func) & TESTS:
                return "class"
            return "value"
        if isinstance(parent, ast.arg) or (
            isinstance(parent, ast.AnnAssign) and child is parent.annotation
        ):
            return "class"
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
            return "class" if child is parent.returns else "value"
        if isinstance(parent, ast.Compare):
            return "type"
        if isinstance(parent, ast.MatchClass | ast.Subscript):
            return "class"
        if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.BitOr):
            return "class"
        if isinstance(parent, ast.Assign):
            return "class" if _only_tested(module.parents, parent) else "value"
        if isinstance(parent, ast.stmt):
            return "value"
        child = parent
    return "value"


def _only_tested(parents: dict[ast.AST, ast.AST], statement: ast.Assign) -> bool:
    """Whether an assigned tuple of classes, by its shape, is for `isinstance`."""
    return isinstance(statement.value, ast.Tuple)


def _exact_type(use: Use) -> Iterable[Finding]:
    compare = next(a for a in use.module.ancestors(use.node) if isinstance(a, ast.Compare))
    left, op, right = compare.left, compare.ops[0], compare.comparators[0]
    other = left if right is use.node else right
    instance = _instance(other)
    if instance is not None and len(compare.ops) == 1 and isinstance(op, EQUAL | UNEQUAL):
        yield finding(
            RULE,
            use,
            "a comparison with FSDP's type becomes isinstance(..., FSDPModule)",
            tier=Tier.NATIVE,
            edits=[_is_sharded(use.module, compare, instance)],
            imports=[Import(ROOT, "FSDPModule")],
        )
        return
    if isinstance(other, ast.Constant) and other.value is None:
        yield finding(
            RULE,
            use,
            "the test for an importable FSDP becomes one for fully_shard",
            tier=Tier.NATIVE,
            edits=[ReplaceExpression(use.module.span(use.node), "fully_shard")],
            imports=[Import(ROOT, "fully_shard")],
        )
        return
    yield finding(
        RULE,
        use,
        "FSDP is compared with something; a sharded model is an FSDPModule, rewrite the test",
        tier=Tier.MANUAL,
    )


def _instance(node: ast.expr) -> ast.expr | None:
    """The object whose class `type(x)` or `x.__class__` is."""
    if isinstance(node, ast.Attribute) and node.attr == "__class__":
        return node.value
    is_type = isinstance(node, ast.Call) and ast.unparse(node.func) == "type"
    return node.args[0] if is_type and isinstance(node, ast.Call) and len(node.args) == 1 else None


def _is_sharded(module: Module, compare: ast.Compare, instance: ast.expr) -> ReplaceExpression:
    negated = "not " if isinstance(compare.ops[0], UNEQUAL) else ""
    return ReplaceExpression(
        module.span(compare),
        f"{negated}isinstance({{0}}, FSDPModule)",
        (module.span(instance),),
    )


def survey(facts: Facts) -> Iterable[Finding]:
    """The class in annotations that are strings, and by its name."""
    for module in facts.solver.project.modules.values():
        if not module.rewrite:
            continue
        if f'"{short(FSDP1)}"' in module.source.text or f"'{short(FSDP1)}'" in module.source.text:
            yield from _by_name(module)
        names = {
            alias.asname or alias.name
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if facts.value(alias) and symbol_of(facts.value(alias)) == FSDP1
        }
        for annotation in all_annotations(module.tree) if names else ():
            for node in ast.walk(annotation):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    text = module.text(node)
                    new = re.sub(rf"\b({'|'.join(map(re.escape, names))})\b", "FSDPModule", text)
                    if new != text:
                        yield _annotation(module, node, new)


def _by_name(module: Module) -> Iterable[Finding]:
    """Comparisons of the name of a class: FSDP2 calls the class of a model `FSDP<its name>`."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        named = [s for s in sides if isinstance(s, ast.Attribute) and s.attr == "__name__"]
        literal = [n for side in sides for n in ast.walk(side) if isinstance(n, ast.Constant)]
        if not named or short(FSDP1) not in {constant.value for constant in literal}:
            continue
        instance = _instance(named[0].value)
        if instance is None:
            continue
        edit = _without_name(module, node, instance)
        yield finding_at(
            RULE,
            module,
            node,
            "a sharded model has a class of its own, named FSDP and the model's class: "
            "isinstance(..., FSDPModule) finds it",
            tier=Tier.NATIVE if edit is not None else Tier.MANUAL,
            edits=[edit] if edit is not None else [],
            imports=[Import(ROOT, "FSDPModule")] if edit is not None else [],
        )


def _without_name(module: Module, node: ast.Compare, instance: ast.expr) -> Edit | None:
    """The test that does without the name of FSDP1's class."""
    if len(node.ops) != 1:
        return None
    op, names = node.ops[0], node.comparators[0]
    if isinstance(op, EQUAL | UNEQUAL):
        return _is_sharded(module, node, instance)
    if not isinstance(op, ast.In | ast.NotIn) or not isinstance(
        names, ast.Tuple | ast.List | ast.Set
    ):
        return None
    rest = [item for item in names.elts if getattr(item, "value", None) != short(FSDP1)]
    is_in = isinstance(op, ast.In)
    if not rest:
        text = "isinstance({0}, FSDPModule)" if is_in else "not isinstance({0}, FSDPModule)"
        return ReplaceExpression(module.span(node), text, (module.span(instance),))
    if len(rest) == 1:
        other = f"{{1}} {'==' if is_in else '!='} {{2}}"
    else:
        listed = ", ".join(f"{{{i + 2}}}" for i in range(len(rest)))
        other = f"{{1}} {'in' if is_in else 'not in'} ({listed})"
    text = f"isinstance({{0}}, FSDPModule) or {other}"
    if not is_in:
        text = f"not isinstance({{0}}, FSDPModule) and {other}"
    parent = module.parents[node]
    if not isinstance(parent, ast.stmt | ast.IfExp):
        text = f"({text})"
    holes = (module.span(instance), module.span(node.left), *map(module.span, rest))
    return ReplaceExpression(module.span(node), text, holes)


def _annotation(module: Module, node: ast.Constant, text: str) -> Finding:
    span = module.span(node)
    fix = Fix(
        {module.path: (ReplaceExpression(span, text),)},
        {module.path: frozenset({Import(ROOT, "FSDPModule")})},
    )
    message = "FSDP as an annotation becomes FSDPModule"
    return Finding(module.path, span.line, span.col + 1, RULE.code, message, Tier.NATIVE, fix=fix)


RULE = Rule(
    code="FSDP401",
    name="class-reference",
    summary="`isinstance(x, FSDP)`, annotations, and the class as a value",
    why="`fully_shard` changes the class of the module in place; it has no wrapper class.",
    fix_safety="Safe: exactly the modules that were wrapped are instances of FSDPModule.",
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
