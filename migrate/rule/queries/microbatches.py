"""Loops over microbatches: where their window ends, and what is dropped before it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.analysis.values import Result
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.optimized import models_optimized_by
from fsdp_migrate.rule.queries.parameters import calls
from fsdp_migrate.rule.queries.running import LOOPS
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import reads

Loop = ast.For | ast.AsyncFor | ast.While


def loop_around(module: Module, node: ast.AST) -> Loop | None:
    """The innermost loop that `node` is in."""
    return next((around for around in module.ancestors(node) if isinstance(around, LOOPS)), None)


def dropped_inside_window(facts: Facts, use: Use, loop: Loop) -> Iterator[ast.Call]:
    """The calls of `zero_grad` in `loop` that stand apart from a step of the optimizer."""
    for node in (n for statement in loop.body for n in nodes_in(statement)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "zero_grad"
            and loop_around(use.module, node) is loop
            and _is_about(facts, use, node.func.value)
            and not _ends_a_window(use, node, loop)
        ):
            yield node


def reduced_each_time(facts: Facts) -> bool:
    """Whether gradients of several microbatches are summed up after each was reduced: a backward
    pass in a loop that takes a step only now and then, or behind it, without `no_sync`."""
    for module, call in calls(facts):
        loop = loop_around(module, call) if _asks(call, "backward") else None
        if loop is None or any(
            isinstance(n, ast.Attribute) and n.attr == "no_sync" for n in nodes_in(loop)
        ):
            continue
        function = module.scope(call)
        steps = [n for n in nodes_in(function) if isinstance(n, ast.Call) and _is_step(facts, n)]
        inside = [step for step in steps if loop in module.ancestors(step)]
        if steps and not any(_is_taken_with(facts, module, step, call, loop) for step in inside):
            return True
    return False


def _is_step(facts: Facts, call: ast.Call) -> bool:
    """Whether `call` may be a step of an optimizer, or of a scaler."""
    if not _asks(call, "step") or not isinstance(call.func, ast.Attribute):
        return False
    made = [atom for atom in facts.value(call.func.value) if isinstance(atom, Result)]
    return not any("lr_scheduler" in a.symbol or "profiler" in a.symbol for a in made)


def _is_taken_with(
    facts: Facts, module: Module, step: ast.Call, backward: ast.Call, loop: Loop
) -> bool:
    """Whether a step is taken whenever that backward pass in the loop is run."""
    if loop_around(module, step) is not loop:
        return False
    around = set(module.ancestors(backward))
    for node in module.ancestors(step):
        if node is loop:
            return True
        if isinstance(node, ast.If) and node not in around:
            branches = (node.body, node.orelse)
            if not all(any(_steps_in(facts, part) for part in branch) for branch in branches):
                return False
    return False


def _steps_in(facts: Facts, statement: ast.stmt) -> bool:
    return any(isinstance(n, ast.Call) and _is_step(facts, n) for n in nodes_in(statement))


def _asks(call: ast.Call, method: str) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == method


def _is_about(facts: Facts, use: Use, receiver: ast.expr) -> bool:
    """Whether `receiver` is the model of `use`, or an optimizer of its parameters."""
    about = models(facts.value(receiver)) | models_optimized_by(facts, receiver)
    return bool(about & use.wraps)


def _ends_a_window(use: Use, call: ast.Call, loop: ast.AST) -> bool:
    """Whether a step is taken next to `call`, or a count of microbatches guards it."""
    module = use.module
    node: ast.AST = module.statement(call)
    while node is not loop:
        if isinstance(node, ast.With) and any(i.context_expr is use.call for i in node.items):
            return False  # it stands in the window itself
        if isinstance(node, ast.stmt):
            for other in module.block(node):
                if (
                    any(isinstance(n, ast.Attribute) and n.attr == "step" for n in nodes_in(other))
                    and not isinstance(other, LOOPS)
                    and (other is node or not isinstance(other, ast.If))
                ):
                    return True
        node = module.parents[node]
        if isinstance(node, ast.If) and _counts(use, node.test, loop):
            return True
    return False


def _counts(use: Use, test: ast.expr, loop: ast.AST) -> bool:
    """Whether `test` counts microbatches, or asks what `no_sync` is chosen by."""
    if _has_remainder(test) or reads(test) & _read_by_choice(use, loop):
        return True
    names = [node for node in nodes_in(test) if isinstance(node, ast.Name)]
    made = [definition(use.module, name) for name in names]
    return any(found is not None and _has_remainder(found.value) for found in made)


def _has_remainder(node: ast.AST) -> bool:
    return any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mod) for n in nodes_in(node))


def _read_by_choice(use: Use, loop: ast.AST) -> frozenset[str]:
    """What the tests read that decide whether `no_sync` is entered."""
    found: frozenset[str] = frozenset()
    for around in use.module.ancestors(use.node):
        if around is loop:
            break
        if isinstance(around, ast.If | ast.IfExp):
            found |= reads(around.test)
    return found
