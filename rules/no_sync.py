"""`with model.no_sync():` becomes `model.set_requires_gradient_sync(False)`, and True after it.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

The sync is switched on again in a `finally`, so that an exception leaves no model that silently
never reduces its gradients.  A context that isn't entered where it is made goes through the
shim's context manager.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from fsdp_migrate.facts import Module
from fsdp_migrate.findings import (
    Finding,
    Import,
    ReplaceExpression,
    ReplaceStatement,
    Span,
    Tier,
)
from fsdp_migrate.names import FSDP1
from fsdp_migrate.rule import Example, Facts, Rule, Surface, Use, finding, runtime
from fsdp_migrate.rules._duck_typing import asked_by_name
from fsdp_migrate.values import Result, Symbol, Value

NULL = {Symbol("contextlib.nullcontext"), Symbol("contextlib.suppress")}


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one use of the method."""
    units = facts.units(use.wraps)
    assert use.receiver is not None
    plans = [facts.plan(w) for w in use.wraps]
    keeps = {plan.keeps_unsharded if plan is not None else None for plan in plans}
    known = use.certain and keeps <= {True, False} and len(keeps) == 1
    if known and _is_repeatable(use.receiver) and not _may_be_nested(use, facts):
        entered = _entered(use, facts)
        keeps_unsharded = keeps == {True}
        if entered is not None and (entered.repeatable or not keeps_unsharded):
            yield _native(use, units, entered, keeps_unsharded)
            return
    hole = (use.module.span(use.receiver),)
    if use.call is not None:
        edit = ReplaceExpression(use.module.span(use.call), "no_sync({0})", hole)
        imports = [runtime("no_sync")]
    else:
        edit = ReplaceExpression(use.module.span(use.node), "partial(no_sync, {0})", hole)
        imports = [runtime("no_sync"), Import("functools", "partial")]
    yield finding(
        RULE,
        use,
        "no_sync goes through the shim's context manager",
        tier=Tier.SHIM,
        edits=[edit],
        imports=imports,
        units=units,
    )


@dataclass(frozen=True)
class Entered:
    """Where a `no_sync` context is entered, and when gradients synchronise inside it.

    The statement is the `with` that it is the only context of, or the call that an exit stack
    `stack` enters it by.
    """

    statement: ast.With | ast.Expr
    condition: str  # a template
    holes: tuple[Span, ...]
    repeatable: bool = True  # whether the condition can be evaluated twice
    assignment: ast.Assign | None = None  # what stored the context, right above the `with`
    stack: str = ""


def _entered(use: Use, facts: Facts) -> Entered | None:
    """Where the context is entered, if it is easy to see."""
    call, module = use.call, use.module
    if call is not None and (call.args or call.keywords):
        return None
    context: ast.expr = call if call is not None else use.node
    condition = "False"
    holes: tuple[Span, ...] = ()
    repeatable = True
    parent = module.parents[context]
    if isinstance(parent, ast.IfExp) and parent.test is not context:
        other = parent.orelse if parent.body is context else parent.body
        if call is not None and isinstance(other, ast.Call):
            other = other.func
        if not facts.value(other) & NULL:
            return None
        condition, holes = _condition(use, parent.test, negated=parent.body is context)
        repeatable = _is_repeatable(parent.test)
        context = parent
        parent = module.parents[context]
    if isinstance(parent, ast.Call) and parent.func is context and call is None:
        context, parent = parent, module.parents[parent]
    elif call is None and not isinstance(parent, ast.Assign):
        return None
    if isinstance(parent, ast.withitem):
        statement = module.parents[parent]
        if _alone(statement, context):
            assert isinstance(statement, ast.With)
            return Entered(statement, condition, holes, repeatable)
    if isinstance(parent, ast.Assign):
        below = _next_with(use, parent, called=call is None)
        if below is not None:
            return Entered(below, condition, holes, repeatable, parent)
    if isinstance(parent, ast.Call) and parent.args == [context] and not parent.keywords:
        statement, func = module.parents[parent], parent.func
        if isinstance(statement, ast.Expr) and isinstance(func, ast.Attribute):
            if func.attr == "enter_context" and _is_exit_stack(facts.value(func.value)):
                stack = module.text(func.value)
                return Entered(statement, condition, holes, repeatable, stack=stack)
    return None


def _is_exit_stack(value: Value) -> bool:
    return bool(value) and all(
        isinstance(atom, Result) and atom.symbol == "contextlib.ExitStack" for atom in value
    )


def _is_repeatable(node: ast.expr) -> bool:
    """Whether evaluating the expression once more changes nothing."""
    doing = (ast.Call, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)
    return not any(isinstance(child, doing) for child in ast.walk(node))


def _may_be_nested(use: Use, facts: Facts) -> bool:
    """Whether another `no_sync` may be open around this one, which must outlast it."""
    todo: list[tuple[Module, ast.AST]] = [(use.module, use.node)]
    seen: set[ast.AST] = set()
    while todo:
        module, node = todo.pop()
        inside = node
        for around in module.ancestors(node):
            if isinstance(around, ast.With | ast.AsyncWith) and inside in around.body:
                if any(_opens_no_sync(facts.value(i.context_expr)) for i in around.items):
                    return True
            if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef) and around not in seen:
                seen.add(around)
                calls = facts.order.callers.get(module.site(around), [])
                todo += [(facts.order.module_of(call), call) for call in calls]
                break
            inside = around
    return False


def _opens_no_sync(context: Value) -> bool:
    return any(isinstance(a, Result) and a.symbol == f"{FSDP1}.no_sync" for a in context)


def _alone(statement: ast.AST, context: ast.expr) -> bool:
    return (
        isinstance(statement, ast.With)
        and len(statement.items) == 1
        and statement.items[0].context_expr is context
        and statement.items[0].optional_vars is None
    )


def _next_with(use: Use, assignment: ast.Assign, called: bool) -> ast.With | None:
    """The `with` right below an assignment, if it alone reads what is assigned."""
    module = use.module
    (target, *more) = assignment.targets
    if more or not isinstance(target, ast.Name):
        return None
    block = module.block(assignment)
    index = block.index(assignment) + 1
    below = block[index] if index < len(block) else None
    if not isinstance(below, ast.With) or not below.items:
        return None
    entered = below.items[0].context_expr
    name = entered
    if called and isinstance(entered, ast.Call) and not entered.args and not entered.keywords:
        name = entered.func
    elif called:
        return None
    scope = module.function(assignment) or module.tree
    mentions = [n for n in ast.walk(scope) if isinstance(n, ast.Name) and n.id == target.id]
    if _alone(below, entered) and {target, name} == set(mentions):
        return below
    return None


def _condition(use: Use, test: ast.expr, negated: bool) -> tuple[str, tuple[Span, ...]]:
    """When gradients synchronise, given the test that picks `no_sync` (negated) or not."""
    span = use.module.span
    if negated and isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return "{1}", (span(test.operand),)
    if negated and isinstance(test, ast.Compare) and len(test.ops) == 1:
        flipped = _FLIPPED.get(type(test.ops[0]))
        if flipped is not None:
            return f"{{1}} {flipped} {{2}}", (span(test.left), span(test.comparators[0]))
    return ("not {1}" if negated else "{1}"), (span(test),)


_FLIPPED: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}


def _native(use: Use, units: frozenset[str], entered: Entered, keeps_unsharded: bool) -> Finding:
    assert use.receiver is not None
    condition = entered.condition
    if entered.stack:
        return _on_stack(use, units, entered, keeps_unsharded)
    before = [f"{{0}}.set_requires_gradient_sync({condition})"]
    after = ["    {0}.set_requires_gradient_sync(True)"]
    if keeps_unsharded:
        before.append(f"{{0}}.set_reshard_after_backward({condition})")
        after.append("    {0}.set_reshard_after_backward(True)")
    template = "\n".join([*before, "try:", "    {body}", "finally:", *after])
    holes = (use.module.span(use.receiver), *entered.holes)
    edits = [ReplaceStatement(use.module.span(entered.statement), template, holes)]
    if entered.assignment is not None:
        edits.append(ReplaceStatement(use.module.span(entered.assignment), ""))
    return finding(
        RULE,
        use,
        "no_sync becomes set_requires_gradient_sync",
        tier=Tier.NATIVE,
        edits=edits,
        units=units,
    )


def _on_stack(use: Use, units: frozenset[str], entered: Entered, keeps_unsharded: bool) -> Finding:
    """The exit stack switches the sync on again when it unwinds."""
    assert use.receiver is not None
    setters = ["set_requires_gradient_sync"]
    setters += ["set_reshard_after_backward"] if keeps_unsharded else []
    lines = [f"{{0}}.{setter}({entered.condition})" for setter in setters]
    lines += [f"{entered.stack}.callback({{0}}.{setter}, True)" for setter in setters]
    holes = (use.module.span(use.receiver), *entered.holes)
    return finding(
        RULE,
        use,
        "no_sync becomes set_requires_gradient_sync",
        tier=Tier.NATIVE,
        edits=[ReplaceStatement(use.module.span(entered.statement), "\n".join(lines), holes)],
        units=units,
    )


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at code that asks objects for the method by its name."""
    return asked_by_name(RULE, facts, "no_sync")


RULE = Rule(
    code="FSDP201",
    name="no-sync",
    summary="`no_sync` becomes `set_requires_gradient_sync`",
    why="FSDP2 reads a flag after the backward pass instead of offering a context manager.",
    fix_safety=(
        "Safe in float32 and wherever gradients are reduced in the dtype of the parameters. "
        "With bf16 parameters and float32 reduction FSDP2 accumulates in float32 where FSDP1 "
        "did in bf16 (losses 2e-4 apart after three steps), which is the better sum."
    ),
    check=check,
    survey=survey,
    methods=("no_sync",),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.no_sync",
            "`set_requires_gradient_sync`",
            (Tier.NATIVE, Tier.SHIM),
        ),
    ),
    examples=(
        Example(
            before="""\
from contextlib import nullcontext

from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def train(net, batches, every):
    model = FSDP(net)
    for i, batch in enumerate(batches):
        with model.no_sync() if (i + 1) % every != 0 else nullcontext():
            model(batch).sum().backward()
""",
            after="""\
from torch.distributed.fsdp import fully_shard

def train(net, batches, every):
    model = fully_shard(net)
    for i, batch in enumerate(batches):
        model.set_requires_gradient_sync((i + 1) % every == 0)
        try:
            model(batch).sum().backward()
        finally:
            model.set_requires_gradient_sync(True)
""",
        ),
    ),
)
