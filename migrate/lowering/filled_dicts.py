"""The keys that a dict has for certain where it is read, as statements have put them in."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.values import Container
from fsdp_migrate.lowering.value_flow import flow_of
from fsdp_migrate.syntax.module import Function, Module, scope_nodes
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of


def keys_for_sure(analysis: Analysis, made: Container, module: Module, at: ast.AST) -> set[str]:
    """The keys that are put into a dict below where it is made, and above `at`.

    Where `at` is in another function, they stand above each `return` of the dict.
    """
    popped = {str(key) for key in analysis.keys_taken_out(made.site)}
    home, statement = _made_in(analysis, made)
    target = _target(statement)
    if home is None or statement is None or target is None or ANY in popped:
        return set()
    block = home.block(statement)
    below = block[block.index(statement) + 1 :]
    function = home.function(statement)
    if home is module and module.function(at) is function:
        ends: list[ast.AST] = [at]
    else:
        ends = [*_returns(analysis, made, function)]
    if not ends:
        return set()
    every = [_above(home, below, end) for end in ends]
    return set.intersection(*(set(_put(each, target)) for each in every)) - popped


def _made_in(analysis: Analysis, made: Container) -> tuple[Module | None, ast.stmt | None]:
    """The file in which a dict is made, and the statement."""
    module = analysis.project.modules[made.site.module]
    for place in flow_of(analysis).places([made]):
        if place.module is module and module.site(place.node) == made.site:
            return module, module.statement(place.node)
    return None, None


def _target(statement: ast.stmt | None) -> str | None:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return path_of(statement.targets[0])
    return path_of(statement.target) if isinstance(statement, ast.AnnAssign) else None


def _returns(analysis: Analysis, made: Container, function: Function | None) -> Iterator[ast.AST]:
    """The statements that hand a dict out of the function in which it is made."""
    if function is None:
        return
    for node in scope_nodes(function):
        if isinstance(node, ast.Return) and made in analysis.value(node.value):
            yield node


def _above(module: Module, block: list[ast.stmt], end: ast.AST) -> list[ast.stmt]:
    """The statements of a block above the one in which `end` is; none if it is in none."""
    around = {end, *module.ancestors(end)}
    for index, statement in enumerate(block):
        if statement in around:
            return block[:index]
    return []


def _put(statements: Iterable[ast.stmt], path: str) -> Iterator[str]:
    """The keys that statements put into the dict at `path`, whichever way they are run."""
    found: set[str] = set()
    for statement in statements:
        if _binds(statement, path):
            break
        found |= _put_by(statement, path)
    yield from found


def _put_by(statement: ast.stmt, path: str) -> set[str]:
    match statement:
        case ast.Assign(targets=targets):
            return {key for target in targets for key in _key(target, path)}
        case ast.If(body=yes, orelse=no):
            return set(_put(yes, path)) & set(_put(no, path))
        case ast.With(body=body):
            return set(_put(body, path))
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr="update")) as call):
            if path_of(owner) == path:
                return {keyword.arg for keyword in call.keywords if keyword.arg is not None}
    return set()


def _key(target: ast.expr, path: str) -> Iterator[str]:
    if isinstance(target, ast.Subscript) and path_of(target.value) == path:
        if isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str):
            yield target.slice.value


def _binds(statement: ast.stmt, path: str) -> bool:
    """Whether a statement may put another dict at `path`."""
    return any(
        isinstance(node, ast.Name | ast.Attribute)
        and not isinstance(node.ctx, ast.Load)
        and path_of(node) in (path, path.partition(".")[0])
        for node in nodes_in(statement)
    )
