"""Whether a place in the program runs before a wrap, whichever way leads to it."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from fsdp_migrate.analysis.call_graph import CallGraph
from fsdp_migrate.lowering.steps import Step
from fsdp_migrate.syntax.blocks import common_block
from fsdp_migrate.syntax.module import Module


def runs_only_before(
    calls: CallGraph, module: Module, node: ast.AST, wrapping: Sequence[Step]
) -> bool:
    """Whether `node` has run for the last time when one of the steps to the wrap begins.

    It is followed outwards through the calls that lead to it.  Where nothing in the program calls
    a function, nobody knows when it runs.
    """
    queue: list[tuple[Module, ast.AST]] = [(module, node)]
    seen: set[ast.AST] = set()
    while queue:
        home, place = queue.pop()
        if place in seen:
            continue
        seen.add(place)
        scope = home.scope(home.statement(place))
        steps = [step for step in wrapping if step.module is home and step.scope is scope]
        if any(_precedes(home, place, step) for step in steps):
            continue
        if steps or not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            return False
        callers = calls.callers_of(home.site(scope))
        if not callers:
            return False
        queue += [(calls.module_of(call), call) for call in callers]
    return True


def _precedes(module: Module, place: ast.AST, step: Step) -> bool:
    """Whether `place` has run when the statement of `step` does what it is there for."""
    statement = module.statement(place)
    if statement is step.statement:
        return is_passed_in(module, place, step)
    return common_block(module, statement, step.statement) is not None


def is_passed_in(module: Module, place: ast.AST, step: Step) -> bool:
    """Whether `place` is an argument of the call that leads from `step` to the wrap, or in one."""
    call = step.call
    if call is None:
        calls = [n for n in module.ancestors(place) if isinstance(n, ast.Call)]
        return bool(calls)
    return place is not call and call in module.ancestors(place)
