"""The class `FullyShardedDataParallel` where it isn't called: `isinstance`, annotations, values.

A sharded model is an `FSDPModule`.  As a value that something else calls (`partial(FSDP, ...)`,
`enable_wrap(wrapper_cls=FSDP)`) the class becomes the shim's constructor function.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from fsdp_migrate.facts import Module
from fsdp_migrate.findings import (
    Edit,
    Finding,
    Fix,
    Import,
    ReplaceExpression,
    ReplaceStatement,
    Tier,
)
from fsdp_migrate.imports import all_annotations
from fsdp_migrate.names import FSDP1, ROOT
from fsdp_migrate.rule import Example, Facts, Rule, Use, finding, runtime
from fsdp_migrate.uses import symbol_of, unwrapping
from fsdp_migrate.values import Symbol

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
    loop = unwrapping(use.module, use.node)
    if loop is not None:
        yield _unwrapped(use, loop)
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


def _unwrapped(use: Use, loop: ast.While | ast.If) -> Finding:
    """Take FSDP out of `while isinstance(m, (DDP, FSDP)): m = m.module`: nothing wraps now."""
    module = use.module
    call = loop.test
    assert isinstance(call, ast.Call)
    classes = call.args[1]
    edit: Edit
    if isinstance(classes, ast.Tuple) and len(classes.elts) > 1:
        rest = [item for item in classes.elts if item is not use.node]
        holes = tuple(module.span(item) for item in rest)
        listed = ", ".join(f"{{{i}}}" for i in range(len(rest)))
        template = listed if len(rest) == 1 else f"({listed})"
        edit = ReplaceExpression(
            module.span(call),
            f"isinstance({{{len(rest)}}}, {template})",
            (*holes, module.span(call.args[0])),
        )
    else:
        edit = ReplaceStatement(module.span(loop), "")
    return finding(
        RULE,
        use,
        "unwrapping skips FSDP: there is no wrapper any more",
        tier=Tier.NATIVE,
        edits=[edit],
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
    if isinstance(other, ast.Call) and len(other.args) == 1 and len(compare.ops) == 1:
        negated = "not " if isinstance(op, ast.NotEq | ast.IsNot) else ""
        yield finding(
            RULE,
            use,
            "a comparison with FSDP's type becomes isinstance(..., FSDPModule)",
            tier=Tier.NATIVE,
            edits=[
                ReplaceExpression(
                    use.module.span(compare),
                    f"{negated}isinstance({{0}}, FSDPModule)",
                    (use.module.span(other.args[0]),),
                )
            ],
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


def survey(facts: Facts) -> Iterable[Finding]:
    """The class in annotations that are strings."""
    for module in facts.solver.project.modules.values():
        if not module.rewrite:
            continue
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
