"""The conditions that a place depends on in its own function, in whatever form they stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.syntax.module import Module

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
LEAVING = (ast.Return, ast.Continue, ast.Break, ast.Raise)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Condition:
    """One condition: a test that decides, and the statement before which nothing is decided."""

    node: ast.AST  # the test; or the handler, where it is an exception that decides
    statement: ast.stmt
    is_branch: bool  # the test of an `if` whose body it is that depends on it
    again: bool = False  # it is asked once a round
    region: tuple[ast.stmt, ...] = ()  # the statements that depend on it, as far as they are some

    @property
    def tests(self) -> tuple[ast.expr, ...]:
        """The expressions that decide; none where it is none."""
        return (self.node,) if isinstance(self.node, ast.expr) else ()


def conditions(module: Module, node: ast.AST) -> Iterator[Condition]:
    """The conditions on the way to `node`, from the inside out."""
    child = node
    for parent in module.ancestors(node):
        if isinstance(child, ast.stmt):
            yield from _left_before(module, child)
        yield from _of(module, parent, child)
        if isinstance(parent, FUNCTIONS):
            return
        child = parent


def _of(module: Module, parent: ast.AST, child: ast.AST) -> Iterator[Condition]:
    """What `parent` decides by, where `child` in it depends on that."""
    if isinstance(parent, ast.If):
        if child is not parent.test:
            branch = parent.body if child in parent.body else parent.orelse
            yield Condition(
                parent.test, startable(module, parent), branch is parent.body, region=tuple(branch)
            )
    elif isinstance(parent, ast.IfExp):
        if child is not parent.test:
            yield Condition(parent.test, module.statement(parent), child is parent.body)
    elif isinstance(parent, ast.BoolOp):
        for operand in parent.values[: parent.values.index(child)]:  # type: ignore[arg-type]
            yield Condition(operand, module.statement(parent), False)
    elif isinstance(parent, ast.While):
        if child is not parent.test:
            yield Condition(parent.test, parent, False, again=True, region=tuple(parent.body))
    elif isinstance(parent, ast.match_case):
        statement = module.statement(parent)
        assert isinstance(statement, ast.Match)
        yield Condition(statement.subject, statement, False, region=tuple(parent.body))
        if parent.guard is not None and child is not parent.guard:
            yield Condition(parent.guard, statement, False)
    elif isinstance(parent, ast.ExceptHandler):
        yield Condition(parent, module.statement(parent), False)
    elif isinstance(parent, COMPREHENSIONS) and not isinstance(child, ast.comprehension):
        for generator in parent.generators:
            for test in generator.ifs:
                yield Condition(test, module.statement(parent), False, again=True)


def _left_before(module: Module, statement: ast.stmt) -> Iterator[Condition]:
    """The tests above `statement` in its block that may leave the block."""
    block = module.block(statement)
    for before in reversed(block[: block.index(statement)]):
        for inner in _branches(before):
            for branch in (inner.body, inner.orelse):
                if branch and isinstance(branch[-1], LEAVING):
                    below = block[block.index(before) + 1 :]
                    yield Condition(inner.test, before, False, region=tuple(below))


def _branches(statement: ast.stmt) -> Iterator[ast.If]:
    """`statement` and the `if` statements in it that can leave the block around it."""
    if isinstance(statement, ast.If):
        yield statement
        for inner in [*statement.body, *statement.orelse]:
            yield from _branches(inner)
    elif isinstance(statement, ast.With | ast.Try):
        for inner in statement.body:
            yield from _branches(inner)


def startable(module: Module, statement: ast.stmt) -> ast.stmt:
    """`statement`, or the `if` that it is an `elif` of."""
    around = module.parents[statement]
    while (
        isinstance(statement, ast.If)
        and isinstance(around, ast.If)
        and around.orelse == [statement]
        and around.col_offset == statement.col_offset
    ):
        statement, around = around, module.parents[around]
    return statement
