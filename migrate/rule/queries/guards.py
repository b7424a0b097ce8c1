"""Conditions that may keep some ranks from a place, and where all ranks still are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.conditions import Condition, conditions
from fsdp_migrate.rule.queries.decorators import calls_inside, handed_on
from fsdp_migrate.rule.queries.events_in import functions_with_events
from fsdp_migrate.rule.queries.gathered_events import Kind
from fsdp_migrate.rule.queries.running import DEPTH, runs
from fsdp_migrate.rule.queries.uniform import given_to, is_uniform
from fsdp_migrate.syntax.blocks import shares_line
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds, path_of

WRITING = frozenset({"load_state_dict", "set_model_state_dict"})


@dataclass(frozen=True)
class Guard:
    """The outermost condition that isn't proven to come out the same on every rank."""

    module: Module
    test: ast.AST
    above: ast.stmt | None  # the statement that all ranks come to; None if it is elsewhere
    first: tuple[ast.expr, ...] = ()  # what is asked before, the same on every rank

    def where(self, module: Module) -> str:
        """The place of the test in words, for who reads about `module`."""
        line = self.module.span(self.test).line
        return f"line {line}" if self.module is module else f"{self.module.path}:{line}"


@lru_cache(maxsize=4096)
def guard_of(facts: Facts, module: Module, node: ast.AST, depth: int = 0) -> Guard | None:
    """What may keep some ranks from `node`, here or in a caller; None if all come to it."""
    every = list(conditions(module, node))
    if any(_never_holds(facts, module, condition) for condition in every):
        return None
    unsure = [c for c in every if not _all_come(facts, module, c)]
    function = module.function(node)
    around = runs(facts, module, function) if function is not None else []
    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        for decorator in function.decorator_list:
            inside = calls_inside(facts, module, decorator)
            if inside is None:
                return Guard(module, decorator, None)
            around += inside
        around += handed_on(facts, module, function)
    for home, call in around if depth < DEPTH else ():
        found = guard_of(facts, home, call, depth + 1)
        if found is not None:
            return Guard(found.module, found.test, None)
    if not unsure:
        return None
    outermost = unsure[-1]
    if outermost.again or not outermost.tests or isinstance(function, ast.Lambda):
        return Guard(module, outermost.node, None)
    inner = [c for c in reversed(every[: every.index(outermost)]) if c not in unsure]
    first = (*_asked_before(facts, module, outermost), *_asked_inside(outermost, inner))
    return Guard(module, outermost.node, outermost.statement, first)


@lru_cache(maxsize=4096)
def _all_come(facts: Facts, module: Module, condition: Condition) -> bool:
    """Whether all ranks come to what depends on a condition.

    What runs or trains a model takes every rank, under FSDP1 too: a program that does so there
    and didn't hang decides alike on every rank.
    """
    if condition.tests and is_uniform(facts, module, condition.tests[0]):
        return True
    functions = functions_with_events(facts)
    return any(
        event.kind in (Kind.FORWARD, Kind.BACKWARD)
        for statement in condition.region
        for event in functions.within(statement)
    )


def _never_holds(facts: Facts, module: Module, condition: Condition) -> bool:
    """Whether `given is None` is asked of a parameter that every caller gives."""
    test = condition.node
    if not condition.is_branch or not isinstance(test, ast.Compare):
        return False
    if not isinstance(test.left, ast.Name) or not isinstance(test.ops[0], ast.Is):
        return False
    scope = scope_of(module, test.left)
    bound = list(bindings(scope, test.left.id)) if scope is not None else []
    if len(bound) != 1 or not isinstance(bound[0], ast.arg) or not _is_none(test.comparators[0]):
        return False
    given = given_to(facts, module, bound[0])
    return bool(given) and not any(value is None or _is_none(value) for _, value in given)


def _is_none(node: ast.expr) -> bool:
    """Whether `node` is the literal None."""
    return isinstance(node, ast.Constant) and node.value is None


def _asked_inside(outermost: Condition, inner: list[Condition]) -> Iterator[ast.expr]:
    """The tests of branches inside of the guard that are the same everywhere, and known above."""
    bound = binds(outermost.statement)
    for condition in inner:
        names = {
            n.id for test in condition.tests for n in nodes_in(test) if isinstance(n, ast.Name)
        }
        if condition.is_branch and not names & bound:
            yield from condition.tests


def _asked_before(facts: Facts, module: Module, condition: Condition) -> Iterator[ast.expr]:
    """The operands of `step % 10 == 0 and is_main` that come first and are the same everywhere."""
    (test,) = condition.tests
    if not condition.is_branch:
        return
    if not isinstance(test, ast.BoolOp) or not isinstance(test.op, ast.And):
        return
    if condition.statement is not module.parents[test]:
        return  # an `elif`: what is asked before it counts as well
    for operand in test.values:
        if not is_uniform(facts, module, operand):
            return
        yield operand


def can_be_taken_above(facts: Facts, guard: Guard, node: ast.AST, wanted: ast.expr) -> bool:
    """Whether `wanted`, which `node` is computed from, is the same above the guard already."""
    above, module = guard.above, guard.module
    if above is None or shares_line(module, above):
        return False
    block = module.block(above)
    last = next((s for s in (node, *module.ancestors(node)) if s in block), None)
    if not isinstance(last, ast.stmt):
        return False
    between = block[block.index(above) : block.index(last) + 1]
    names = {n.id for n in nodes_in(wanted) if isinstance(n, ast.Name)}
    if _is_asked_for(module, node, guard, wanted):
        return False
    functions = functions_with_events(facts)
    for statement in between:
        if names & binds(statement):
            return False
        if any(_changes(event.kind, event.node) for event in functions.within(statement)):
            return False
    return True


def _is_asked_for(module: Module, node: ast.AST, guard: Guard, wanted: ast.expr) -> bool:
    """Whether it is asked on the way to `node` what the model is, and not above the guard."""
    owner = path_of(wanted) or ""
    for condition in conditions(module, node):
        for test in condition.tests:
            asked = {path for n in nodes_in(test) if (path := _whole_path(module, n))}
            if test not in guard.first and any(
                f"{owner}.".startswith(f"{path}.") or path.startswith(f"{owner}.") for path in asked
            ):
                return True
        if condition.node is guard.test:
            break
    return False


def _whole_path(module: Module, node: ast.AST) -> str | None:
    """The path of a name or an attribute that no more is asked of."""
    if not isinstance(node, ast.Name | ast.Attribute):
        return None
    return None if isinstance(module.parents[node], ast.Attribute) else path_of(node)


def _changes(kind: Kind, node: ast.expr) -> bool:
    """Whether something other than before is in the weights after an event."""
    if kind in (Kind.WRITE, Kind.BACKWARD):
        return True
    func = node.func if isinstance(node, ast.Call) else None
    name = getattr(func, "attr", getattr(func, "id", ""))
    return kind is Kind.READ and name in WRITING
