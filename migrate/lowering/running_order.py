"""Whether a place in the program runs before a wrap, whichever way leads to it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.call_graph import CallGraph
from fsdp_migrate.analysis.library.modules import RETURN_SELF
from fsdp_migrate.analysis.values import Atom, Method, Symbol
from fsdp_migrate.lowering.steps import Step
from fsdp_migrate.syntax.blocks import common_block
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import own_nodes

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def runs_only_before(
    calls: CallGraph, module: Module, node: ast.AST, wrapping: Sequence[Step]
) -> bool:
    """Whether `node` has run for the last time when one of the steps to the wrap begins."""
    return all(before is True for before in _orders(calls, module, node, wrapping))


def may_run_before(
    calls: CallGraph, module: Module, node: ast.AST, wrapping: Sequence[Step]
) -> bool:
    """Whether `node` may run before the wrap, on one of the ways to it at least."""
    return any(before is not False for before in _orders(calls, module, node, wrapping))


def _orders(
    calls: CallGraph, module: Module, node: ast.AST, wrapping: Sequence[Step]
) -> Iterator[bool | None]:
    """For each way that leads to `node`, whether it comes before the wrap.

    They are followed outwards through the calls of functions.  Where nothing in the program calls
    a function, nobody knows when it runs: None.
    """
    queue: list[tuple[Module, ast.AST]] = [(module, node)]
    seen: set[ast.AST] = set()
    while queue:
        home, place = queue.pop()
        if place in seen:
            continue
        seen.add(place)
        scope = home.scope(place)
        steps = [step for step in wrapping if step.module is home and step.scope is scope]
        if steps:
            yield any(_precedes(home, place, step) for step in steps)
        elif not isinstance(scope, FUNCTIONS):
            yield None
        else:
            runs = calls.runs_of(home.site(scope))
            if not runs:
                yield None
            queue += runs


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


def only_wraps(analysis: Analysis, step: Step, kept: Iterable[str]) -> bool:
    """Whether the functions that `step` leads to have no use for `kept` when the wrap is done.

    What stands below the call of `step` comes too late for them: they have returned by then.
    """
    names = {path.rpartition(".")[2] for path in kept}
    if any(map(_is_passed_on, step.inwards())):
        return False
    for inner in list(step.inwards())[1:]:
        end = inner.statement.end_lineno or inner.statement.lineno
        for node in own_nodes(inner.scope):
            if not isinstance(node, ast.expr) or node.lineno <= end:
                continue
            if isinstance(node, ast.Name | ast.Attribute):
                if (node.id if isinstance(node, ast.Name) else node.attr) in names:
                    return False
            elif isinstance(node, ast.Call):
                value = analysis.value(node.func)
                if not value or not all(map(_is_of_library, value)):
                    return False
    return True


def _is_passed_on(step: Step) -> bool:
    """Whether what leads to the wrap is an argument of another call, which then goes on."""
    place = step.call if step.call is not None else step.place
    if place is None:
        return False
    around = step.module.ancestors(place)
    inside = takewhile(lambda node: not isinstance(node, ast.stmt), around)
    return any(isinstance(node, ast.Call) for node in inside)


def _is_of_library(callee: Atom) -> bool:
    """Whether a function is a library's, or a method such as `train` of PyTorch's modules."""
    if isinstance(callee, Method):
        return callee.name in RETURN_SELF
    return isinstance(callee, Symbol)
