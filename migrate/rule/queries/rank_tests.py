"""Tests of the rank that a place depends on: code that runs on some ranks only."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import Const, Result
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.values import literals
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.nodes import nodes_in

RANK = "torch.distributed.get_rank"
# What launchers and `spawn` hand a program by these names.
FROM_LAUNCHER = frozenset({"rank", "local_rank", "global_rank"})
_DEEP = 3  # names of tests that are made of names of tests
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def rank_test(facts: Facts, module: Module, node: ast.AST) -> ast.expr | None:
    """The test of the rank that `node` depends on, in its own function."""
    for test, holds in _tests_on_the_way(module, node):
        if _on_one_rank(facts, module, test) is holds:
            return test
    return None


def _tests_on_the_way(module: Module, node: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """The conditions that lead to `node`, from the inside out, and how they come out there."""
    child = node
    for parent in module.ancestors(node):
        if isinstance(parent, ast.If | ast.IfExp) and child is not parent.test:
            body = parent.body if isinstance(parent.body, list) else [parent.body]
            yield parent.test, child in body
        if isinstance(child, ast.stmt):
            block = module.block(child)
            for before in block[: block.index(child)]:
                if isinstance(before, ast.If) and not before.orelse:
                    if isinstance(before.body[-1], ast.Return):
                        yield before.test, False
        if isinstance(parent, FUNCTIONS):
            return
        child = parent


def _on_one_rank(facts: Facts, module: Module, test: ast.expr, depth: int = 0) -> bool | None:
    """True if `test` holds on one rank only, False on all others, None if it is no such test."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        if is_rank(facts, module, test.operand):
            return True
        inner = _on_one_rank(facts, module, test.operand, depth)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        parts = [_on_one_rank(facts, module, part, depth) for part in test.values]
        return True if True in parts else None
    if isinstance(test, ast.Compare):
        return _compares(facts, module, test)
    named = facts.analysis.named_tests.find(module, _scope(module, test), test)
    if named is None or depth > _DEEP:
        return None
    return _on_one_rank(facts, named.module, named.test, depth + 1)


def parts_of_test(
    facts: Facts, module: Module, test: ast.expr, depth: int = 0
) -> Iterator[tuple[Module, ast.AST]]:
    """All that a test is made of, where it stands; of a name for a test, what that is made of."""
    for node in nodes_in(test):
        yield module, node
        if isinstance(node, ast.Name | ast.Attribute | ast.Call) and depth <= _DEEP:
            named = facts.analysis.named_tests.find(module, _scope(module, test), node)
            if named is not None:
                yield from parts_of_test(facts, named.module, named.test, depth + 1)


def _scope(module: Module, node: ast.AST) -> Scope:
    """The function around `node`, or the module."""
    return module.function(node) or module.tree


def _compares(facts: Facts, module: Module, test: ast.Compare) -> bool | None:
    """The same for a comparison, which has to be of the rank with 0."""
    if len(test.ops) != 1 or not is_rank(facts, module, test.left):
        return None
    if literals(facts.value(test.comparators[0])) != [0]:
        return None
    if isinstance(test.ops[0], ast.Eq | ast.LtE):
        return True
    return False if isinstance(test.ops[0], ast.NotEq | ast.Gt) else None


def is_rank(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is the number of the process: asked for, or handed in under that name."""
    value = facts.value(node)
    if any(isinstance(atom, Result) and atom.symbol == RANK for atom in value):
        return True
    if any(isinstance(atom, Const) for atom in value):
        return False
    if isinstance(node, ast.Attribute):
        return node.attr in FROM_LAUNCHER
    return isinstance(node, ast.Name) and node.id in FROM_LAUNCHER and not _counts(module, node)


def _counts(module: Module, node: ast.Name) -> bool:
    """Whether the variable that `node` names is that of a loop."""
    scope = scope_of(module, node)
    bound = list(bindings(scope, node.id)) if scope is not None else []
    return any(
        isinstance(module.parents[binding], ast.For | ast.AsyncFor | ast.comprehension)
        or isinstance(module.statement(binding), ast.For | ast.AsyncFor)
        for binding in bound
        if isinstance(binding, ast.Name)
    )
