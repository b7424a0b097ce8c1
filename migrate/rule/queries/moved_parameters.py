"""Loops that put each parameter of a model on another device."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Symbol
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.models import models_at
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of, reads

_MOVES = frozenset({"to", "cpu", "cuda"})
_EVERY = frozenset({"parameters", "named_parameters"})
_DTYPES = tuple(
    f"torch.{name}"
    for name in ("bfloat16", "complex", "double", "float", "half", "int", "long", "short", "uint")
)


@dataclass(frozen=True)
class Move:
    """A loop that does nothing but move the parameters, and gradients, of a model."""

    loop: ast.For
    model: ast.expr
    call: ast.Call  # how the first of them is moved


def is_move(facts: Facts, statement: ast.Assign) -> bool:
    """Whether a statement is `p.data = p.data.to(device)`, in whatever spelling."""
    target = path_of(statement.targets[0]) or ""
    return target.endswith(".data") and _moved_by(facts, statement) is not None


def move_around(facts: Facts, module: Module, statement: ast.Assign) -> Move | None:
    """The loop around such a statement, if it moves a whole model and does nothing else."""
    loop = module.parents.get(statement)
    if not isinstance(loop, ast.For) or loop.orelse or statement not in loop.body:
        return None
    name, model = _parameter(loop), _model(loop)
    if name is None or model is None or not models_at(facts, model):
        return None
    calls = [_of_parameter(facts, inner, name) for inner in loop.body]
    first = calls[0]
    if first is None or any(found is None or not _alike(found, first) for found in calls):
        return None
    if name in {n.split(".")[0] for argument in _given(first) for n in reads(argument)}:
        return None
    return Move(loop, model, first)


def _moved_by(facts: Facts, statement: ast.Assign) -> ast.Call | None:
    value = statement.value
    if len(statement.targets) != 1 or not isinstance(value, ast.Call):
        return None
    target, func = path_of(statement.targets[0]), value.func
    if target is None or not isinstance(func, ast.Attribute) or func.attr not in _MOVES:
        return None
    if path_of(func.value) not in (target, target.removesuffix(".data")):
        return None
    return None if any(_may_be_dtype(facts, node) for node in _given(value)) else value


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _may_be_dtype(facts: Facts, node: ast.expr) -> bool:
    return any(
        isinstance(atom, Symbol) and atom.name.startswith(_DTYPES) for atom in facts.value(node)
    )


def _parameter(loop: ast.For) -> str | None:
    """The variable of a loop that is a parameter: `p`, or the second of `name, p`."""
    target = loop.target
    if isinstance(target, ast.Tuple) and len(target.elts) == 2:
        target = target.elts[1]
    return target.id if isinstance(target, ast.Name) else None


def _model(loop: ast.For) -> ast.expr | None:
    """The model whose parameters a loop goes over."""
    every = loop.iter
    if not isinstance(every, ast.Call) or every.args or every.keywords:
        return None
    func = every.func
    named = isinstance(func, ast.Attribute) and func.attr == "named_parameters"
    if not isinstance(func, ast.Attribute) or func.attr not in _EVERY:
        return None
    if named != isinstance(loop.target, ast.Tuple):
        return None
    return func.value if path_of(func.value) is not None else None


def _of_parameter(facts: Facts, statement: ast.stmt, name: str) -> ast.Call | None:
    """How a statement moves the parameter `name`, or its gradient if there is one."""
    of = frozenset({f"{name}.data"})
    if isinstance(statement, ast.If) and len(statement.body) == 1 and not statement.orelse:
        if path_of(_tested(statement.test)) not in (f"{name}.grad", f"{name}._grad"):
            return None
        statement = statement.body[0]
        of = frozenset(f"{name}.{grad}" for grad in ("grad", "grad.data", "_grad", "_grad.data"))
    if not isinstance(statement, ast.Assign):
        return None
    found = _moved_by(facts, statement)
    return found if path_of(statement.targets[0]) in of else None


def _tested(test: ast.expr) -> ast.expr:
    """What a test asks for: `x` of `x is not None`."""
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot):
        against = test.comparators[0]
        if isinstance(against, ast.Constant) and against.value is None:
            return test.left
    return test


def _alike(one: ast.Call, other: ast.Call) -> bool:
    """Whether two calls move to the same place in the same way."""
    assert isinstance(one.func, ast.Attribute)
    assert isinstance(other.func, ast.Attribute)
    given = [[ast.dump(node) for node in _given(call)] for call in (one, other)]
    names = [[keyword.arg for keyword in call.keywords] for call in (one, other)]
    return one.func.attr == other.func.attr and given[0] == given[1] and names[0] == names[1]
