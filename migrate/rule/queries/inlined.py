"""Lambdas whose body can stand where they are called."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fsdp_migrate.analysis.definitions import bindings, definition, scope_of
from fsdp_migrate.findings.code import Code, Element, Hole, Item, Kept, Keyword, Part, Starred
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Span

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def assignment_of(module: Module, function: ast.Lambda) -> ast.Assign | None:
    """The statement that alone gives a lambda its name, if that is all that it does."""
    statement = module.parents[function]
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    (target,) = statement.targets
    return statement if isinstance(target, ast.Name) and definition(module, target) else None


def arguments_of(
    module: Module, function: ast.Lambda, calls: Sequence[ast.Call]
) -> list[Mapping[str, ast.expr]] | None:
    """What each call gives the parameters; None if the body can't stand in the place of one."""
    found = [_given(module, function, call) for call in calls]
    given = [each for each in found if each is not None]
    return given if len(given) == len(calls) else None


def _given(module: Module, function: ast.Lambda, call: ast.Call) -> Mapping[str, ast.expr] | None:
    parameters = function.args
    plain = not (parameters.vararg or parameters.kwarg or parameters.kwonlyargs)
    names = [parameter.arg for parameter in (*parameters.posonlyargs, *parameters.args)]
    if not plain or call.keywords or len(call.args) != len(names):
        return None
    if any(isinstance(each, ast.Starred | ast.Call | ast.NamedExpr) for each in call.args):
        return None
    free = {n.id for n in nodes_in(function.body) if isinstance(n, ast.Name)} - set(names)
    if any(_means_another(module, function, call, name) for name in free):
        return None
    return dict(zip(names, call.args, strict=True))


def _means_another(module: Module, function: ast.Lambda, call: ast.Call, name: str) -> bool:
    """Whether a name that the lambda reads is bound between it and the call."""
    outer = [scope for scope in module.ancestors(function) if isinstance(scope, _FUNCTIONS)]
    for scope in module.ancestors(call):
        if isinstance(scope, _FUNCTIONS) and scope not in outer and any(bindings(scope, name)):
            return True
    return False


def with_arguments(
    module: Module, part: Part, function: ast.Lambda, given: Mapping[str, ast.expr]
) -> Part:
    """`part`, which keeps pieces of the lambda's body, with arguments for its parameters."""
    read = [
        node
        for node in nodes_in(function.body)
        if isinstance(node, ast.Name) and node.id in given
        if scope_of(module, node) is function
    ]
    instead = {module.span(node): Kept(module.span(given[node.id])) for node in read}
    return _filled(part, instead)


def _filled(part: Part, instead: Mapping[Span, Kept]) -> Part:
    if isinstance(part, Kept):
        whole = instead.get(part.span)
        inside = tuple((s, k) for s, k in instead.items() if part.span.contains(s))
        return whole or (replace(part, instead=inside) if inside else part)
    if not isinstance(part, Code):
        return part
    holes = tuple((name, _hole(hole, instead)) for name, hole in part.holes)
    return replace(part, holes=holes)


def _hole(hole: Hole, instead: Mapping[Span, Kept]) -> Hole:
    return tuple(_elements(hole, instead)) if isinstance(hole, tuple) else _filled(hole, instead)


def _elements(hole: tuple[Element, ...], instead: Mapping[Span, Kept]) -> Iterator[Element]:
    for item in hole:
        if isinstance(item, Keyword | Starred):
            yield replace(item, value=_filled(item.value, instead))
        elif isinstance(item, Item):
            yield Item(_filled(item.key, instead), _filled(item.value, instead))
        else:
            yield _filled(item, instead)
