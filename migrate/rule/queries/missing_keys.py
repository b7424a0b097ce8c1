"""`result = model.load_state_dict(state, strict=False)`, of which the missing keys are read.

DCP's function fills in what a full state lacks before it loads, so that nothing is missing: which
keys are missing has to be asked before.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.findings.code import (
    Kept,
    Part,
    block,
    code,
    local_variable,
    loop_variable,
    variable,
)
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

MISSING, UNEXPECTED = "missing_keys", "unexpected_keys"
KEYS = variable(MISSING, "missing")
KEY = loop_variable("key", "name")


@dataclass(frozen=True)
class ReadKeys:
    """What is read of the result of a call that loads a state."""

    statement: ast.Assign
    missing: ast.Name | None  # the variable that they are unpacked into, if they are
    unexpected: ast.expr | None
    reads: tuple[ast.Attribute, ...] = ()  # of `result.missing_keys`


def read_keys(module: Module, call: ast.Call) -> ReadKeys | None:
    """What is read of the result; None if that isn't known, or is more than its two lists."""
    statement = module.parents[call]
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0]
    if isinstance(target, ast.Tuple) and len(target.elts) == 2:
        first, second = target.elts
        if isinstance(first, ast.Name) and isinstance(second, ast.Name):
            return ReadKeys(statement, first, second)
        return None
    scope = scope_of(module, target) if isinstance(target, ast.Name) else None
    if not isinstance(target, ast.Name) or scope is None:
        return None
    if len(list(bindings(scope, target.id))) != 1:
        return None
    named = [n for n in nodes_in(scope) if isinstance(n, ast.Name) and n.id == target.id]
    reads = [module.parents[node] for node in named if node is not target]
    fields = [r for r in reads if isinstance(r, ast.Attribute) and r.attr in (MISSING, UNEXPECTED)]
    if len(fields) != len(reads):
        return None
    unexpected = target if any(field.attr == UNEXPECTED for field in fields) else None
    missing = tuple(field for field in fields if field.attr == MISSING)
    return ReadKeys(statement, None, unexpected, missing)


def is_read_twice(node: ast.expr) -> bool:
    """Whether an expression can be evaluated twice: a path, or an item of one by a literal."""
    while isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        node = node.value
    return path_of(node) is not None


def with_keys(
    module: Module, found: ReadKeys, model: ast.expr, state: ast.expr, load: Part
) -> tuple[Edit, ...]:
    """The edits: the missing keys first, then `load`, and the readers of its result."""
    span = module.span
    asked = found.missing is not None or found.reads
    keys: Part = Kept(span(found.missing)) if found.missing is not None else KEYS
    above = code(
        "{keys} = [{key} for {key} in {model}.state_dict() if {key} not in {state}]",
        keys=keys,
        key=KEY,
        model=Kept(span(model)),
        state=Kept(span(state)),
    )
    if found.unexpected is None:
        below: Part = load
    elif found.missing is not None:
        ignored, target = local_variable("_", beside=()), Kept(span(found.unexpected))
        below = code("{ignored}, {target} = {load}", ignored=ignored, target=target, load=load)
    else:
        below = code("{target} = {load}", target=Kept(span(found.unexpected)), load=load)
    new = block(above, below) if asked else below
    readers = [ReplaceExpression(span(read), KEYS) for read in found.reads]
    return (ReplaceStatement(span(found.statement), new), *readers)
