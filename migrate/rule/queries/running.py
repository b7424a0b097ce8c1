"""When code runs: how often, inside of what, and whether an exception in it ends the program.

Functions are followed to their callers, as far as the program shows them.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from fsdp_migrate.analysis.values import Method, Result, Symbol, Unknown
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.decorators import calls_inside
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import children

DEPTH = 8  # calls that something is followed through
LOOPS = (ast.For, ast.AsyncFor, ast.While)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def callers(facts: Facts, module: Module, function: ast.AST) -> list[tuple[Module, ast.Call]]:
    """The calls of `function` of `module` that are written as such."""
    graph = facts.analysis.call_graph
    return [(graph.module_of(call), call) for call in graph.callers_of(module.site(function))]


def runs(facts: Facts, module: Module, function: ast.AST) -> list[tuple[Module, ast.AST]]:
    """All places that may run `function` of `module`, be it by the way: `partial(f)()`, say."""
    return list(facts.analysis.call_graph.runs_of(module.site(function)))


def runs_inside(
    facts: Facts, module: Module, node: ast.AST, statements: Collection[ast.With], depth: int = 0
) -> bool:
    """Whether `node` runs in the body of one of `statements`, here or in every caller."""
    child = node
    for around in module.ancestors(node):
        if isinstance(around, ast.With) and around in statements and child in around.body:
            return True
        if isinstance(around, FUNCTIONS):
            ways = [runs(facts, module, around), *_decorated(facts, module, around)]
            return depth < DEPTH and any(
                bool(found)
                and all(runs_inside(facts, home, c, statements, depth + 1) for home, c in found)
                for found in ways
            )
        child = around
    return False


def _decorated(
    facts: Facts, module: Module, function: ast.AST
) -> Iterator[list[tuple[Module, ast.AST]]]:
    """The calls in the function's decorators, one of which each call of it comes through."""
    for decorator in getattr(function, "decorator_list", ()):
        yield [*(calls_inside(facts, module, decorator) or ())]


def runs_once(facts: Facts, module: Module, node: ast.AST, depth: int = 0) -> bool:
    """Whether `node` runs once in the program at most."""
    for around in module.ancestors(node):
        if isinstance(around, (*LOOPS, *COMPREHENSIONS, ast.comprehension, ast.Lambda)):
            return False
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef):
            found = runs(facts, module, around)
            return (
                depth < DEPTH
                and len(found) < 2
                and not any(_is_of_library(facts, run) for _, run in found)
                and all(runs_once(facts, home, run, depth + 1) for home, run in found)
            )
    return True


def _is_of_library(facts: Facts, run: ast.AST) -> bool:
    """Whether a function of a library runs what it is given, as often as it likes: `map(f, xs)`."""
    value = facts.value(run.func) if isinstance(run, ast.Call) else frozenset()
    return any(isinstance(atom, Symbol | Method | Unknown) for atom in value)


def is_caught(facts: Facts, module: Module, node: ast.AST, depth: int = 0) -> bool:
    """Whether an exception at `node` is caught, here or by a caller that may not be known."""
    child = node
    for around in module.ancestors(node):
        if isinstance(around, ast.Try) and child in around.body:
            if any(not isinstance(handler.body[-1], ast.Raise) for handler in around.handlers):
                return True
        if isinstance(around, ast.With) and any(
            isinstance(atom, Result) and atom.symbol == "contextlib.suppress"
            for item in around.items
            for atom in facts.value(item.context_expr)
        ):
            return True
        if isinstance(around, FUNCTIONS):
            found = runs(facts, module, around)
            return (
                depth == DEPTH
                or not found
                or any(is_caught(facts, home, call, depth + 1) for home, call in found)
            )
        child = around
    return False


def ends_early(statement: ast.With) -> bool:
    """Whether the body can be left before its end, or waits for somebody else."""

    def visit(node: ast.AST, in_loop: bool) -> bool:
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom | ast.Await):
            return True
        if isinstance(node, ast.Break | ast.Continue):
            return not in_loop
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            return False
        looping = in_loop or isinstance(node, LOOPS)
        return any(visit(child, looping) for child in children(node))

    return any(visit(child, False) for child in statement.body)


def enclosing_contexts(facts: Facts, module: Module, node: ast.AST) -> Iterator[ast.expr]:
    """The contexts that may be open where `node` runs, in the callers too."""
    todo: list[tuple[Module, ast.AST]] = [(module, node)]
    seen: set[ast.AST] = set()
    while todo:
        home, inside = todo.pop()
        for around in home.ancestors(inside):
            if isinstance(around, ast.With | ast.AsyncWith) and inside in around.body:
                yield from (item.context_expr for item in around.items)
            if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef) and around not in seen:
                seen.add(around)
                todo += runs(facts, home, around)
                break
            inside = around
