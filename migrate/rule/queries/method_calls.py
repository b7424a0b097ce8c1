"""Calls of a model's methods, as calls of functions that take the model."""

from __future__ import annotations

import ast

from fsdp_migrate.findings.code import Element, Kept, Keyword, Name, Part, Starred, Variable, call
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.rule.facts import Use
from fsdp_migrate.syntax.module import Module

PARTIAL = Name("functools", "partial")


def elements(module: Module, node: ast.Call, *without: ast.expr | None) -> tuple[Element, ...]:
    """The arguments of a call as its author wrote them, but for the values in `without`."""
    found: list[Element] = []
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            found.append(Starred(Kept(module.span(argument.value))))
        elif argument not in without:
            found.append(Kept(module.span(argument)))
    for keyword in node.keywords:
        value = Kept(module.span(keyword.value))
        if keyword.value not in without:
            found.append(Keyword(keyword.arg, value) if keyword.arg else Starred(value, True))
    return tuple(found)


def values(use: Use) -> list[ast.expr]:
    """The values that the method is given besides the model."""
    if use.call is None:
        return []
    named = [keyword.value for keyword in use.call.keywords]
    return [node for node in [*use.call.args, *named] if node is not use.receiver]


def given(use: Use) -> tuple[Element, ...]:
    """The arguments of the method, without the model that `FSDP.method(model)` is given."""
    return elements(use.module, use.call, use.receiver) if use.call is not None else ()


def as_function(use: Use, function: Name | Variable, **more: Part) -> ReplaceExpression:
    """`model.method(x)` as `function(model, x)`, `model.method` as `partial(function, model)`.

    `more` are keyword arguments besides.
    """
    assert use.receiver is not None
    model = Kept(use.module.span(use.receiver))
    if use.call is None:
        return ReplaceExpression(use.module.span(use.node), call(PARTIAL, function, model, **more))
    return ReplaceExpression(use.module.span(use.call), call(function, model, *given(use), **more))
