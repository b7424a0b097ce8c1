"""What is left of code that takes wrappers off a model, when FSDP is none of them any more."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.findings.code import ALTERNATIVE, BODY, NOTHING, Kept, code
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.unwrapping import Unwrapping


def without_class(module: Module, found: Unwrapping, gone: ast.expr) -> Iterator[Edit]:
    """The edits that drop the class `gone` from `while isinstance(m, (DDP, FSDP)): m = m.module`.

    With no class left the model has no wrapper, and the statement goes on with it as it is.
    """
    model = Kept(module.span(found.test.args[0]))
    statement = module.span(found.statement)
    others = tuple(Kept(module.span(item)) for item in found.classes if item is not gone)
    if len(others) == 1:
        test = code("isinstance({model}, {other})", model=model, other=others[0])
        yield ReplaceExpression(module.span(found.test), test)
    elif others:
        test = code("isinstance({model}, ({others},))", model=model, others=others)
        yield ReplaceExpression(module.span(found.test), test)
    elif isinstance(found.statement, ast.IfExp):
        yield ReplaceExpression(statement, model)
    elif not found.negated:
        yield ReplaceStatement(statement, ALTERNATIVE if found.statement.orelse else NOTHING)
    elif found.below is None:
        yield ReplaceStatement(statement, BODY)
    else:
        yield ReplaceStatement(statement, NOTHING)
        yield ReplaceStatement(module.span(found.below), code("return {model}", model=model))
