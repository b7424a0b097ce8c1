"""Idioms with FSDP1's handles that say no more than "free what was gathered"."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.models import only_models
from fsdp_migrate.rule.queries.parameters import called
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

RESHARD = f"{ROOT}._runtime_utils._reshard"
FREE_STORAGE = frozenset({"torch.distributed.utils._free_storage"})
_FREES = "free_unsharded_flat_param"
_ASKED = frozenset({"_handle", "_has_params"})
_HARMLESS = frozenset({"builtins.isinstance", "builtins.hasattr", "builtins.getattr"})


@dataclass(frozen=True)
class Reshard:
    """A statement that frees what a unit gathered, and what is asked of its handle before.

    `statement` is the call or the `if` around it; `rest` are the tests that are about something
    else.
    """

    call: ast.Call
    model: ast.expr
    statement: ast.stmt
    guard: ast.If | None = None
    rest: tuple[ast.expr, ...] = ()


def reshard_at(facts: Facts, module: Module, node: ast.AST) -> Reshard | None:
    """The idiom that `node` is part of, in the call or in a test around it."""
    statement = module.statement(node)
    if isinstance(statement, ast.If) and len(statement.body) == 1 and not statement.orelse:
        if any(inner is node for inner in nodes_in(statement.test)):
            found = _resharded(facts, statement.body[0])
            return _guarded(module, found) if found is not None else None
    found = _resharded(facts, statement)
    return _guarded(module, found) if found is not None else None


def _resharded(facts: Facts, statement: ast.stmt) -> Reshard | None:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return None
    call = statement.value
    model = _by_method(call) if isinstance(call.func, ast.Attribute) else None
    if model is None and called(facts, call) == {RESHARD}:
        model = _by_function(call)
    if model is None or path_of(model) is None or not only_models(facts, model):
        return None
    return Reshard(call, model, statement)


def _by_method(call: ast.Call) -> ast.expr | None:
    """The model of `model._handle.reshard(True)`."""
    func = call.func
    assert isinstance(func, ast.Attribute)
    handle = func.value
    if func.attr != "reshard" or not isinstance(handle, ast.Attribute) or handle.attr != "_handle":
        return None
    given = [*call.args, *(k.value for k in call.keywords if k.arg == _FREES)]
    return handle.value if len(given) == 1 and _is_true(given[0]) else None


def _by_function(call: ast.Call) -> ast.expr | None:
    """The model of `_reshard(model, model._handle, True)`."""
    names = ("state", "handle", _FREES)
    given = dict(zip(names, call.args, strict=False))
    given |= {k.arg: k.value for k in call.keywords if k.arg is not None}
    if set(given) != set(names) or len(call.args) + len(call.keywords) != len(names):
        return None
    model, handle = given["state"], given["handle"]
    of_model = path_of(handle) == f"{path_of(model)}._handle"
    return model if of_model and path_of(model) and _is_true(given[_FREES]) else None


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _guarded(module: Module, found: Reshard) -> Reshard:
    """The same with the `if` around it, where that asks whether there is a handle."""
    around = module.parents[found.statement]
    if not isinstance(around, ast.If) or around.body != [found.statement] or around.orelse:
        return found
    test = around.test
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    rest = tuple(part for part in parts if not _asks_handle(part, found.model))
    if len(rest) == len(parts):
        return found
    statement = found.statement if rest else around
    return Reshard(found.call, found.model, statement, around, rest)


def _asks_handle(test: ast.expr, model: ast.expr) -> bool:
    """Whether a test is whether the model has a handle, or parameters for one."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        against = test.comparators[0]
        is_none = isinstance(against, ast.Constant) and against.value is None
        return isinstance(test.ops[0], ast.IsNot) and is_none and _asks_handle(test.left, model)
    return (
        isinstance(test, ast.Attribute)
        and test.attr in _ASKED
        and path_of(test.value) == path_of(model)
    )


# ---------------------------------------------------------------------- before `del model`
def freed_at(facts: Facts, module: Module, node: ast.AST) -> ast.stmt | None:
    """The statement around `node` that only frees flat parameters of a model deleted next."""
    statement = module.statement(node)
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return None
    call = statement.value
    if not called(facts, call) & FREE_STORAGE or len(call.args) != 1 or call.keywords:
        return None
    flat = call.args[0]
    if isinstance(flat, ast.Attribute) and flat.attr == "data":
        flat = flat.value
    if not isinstance(flat, ast.Attribute) or not isinstance(flat.value, ast.Attribute):
        return None
    if (flat.value.attr, flat.attr) != ("_handle", "flat_param"):
        return None
    whole, names = _whole(facts, module, statement)
    model = flat.value.value
    while isinstance(model, ast.Attribute):
        model = model.value
    names |= {model.id} if isinstance(model, ast.Name) else set()
    return whole if names & set(_deleted_next(module, whole)) else None


def _whole(facts: Facts, module: Module, statement: ast.stmt) -> tuple[ast.stmt, set[str]]:
    """The loops and tests around a statement that there is nothing else in, and whose they are."""
    names: set[str] = set()
    while True:
        around = module.parents[statement]
        if not isinstance(around, ast.For | ast.If) or around.body != [statement] or around.orelse:
            return statement, names
        head = around.iter if isinstance(around, ast.For) else around.test
        if isinstance(around, ast.If) and not _is_harmless(facts, head):
            return statement, names
        if isinstance(around, ast.For):
            read = {n.id for n in nodes_in(head) if isinstance(n, ast.Name)}
            names = {name for name in read if _is_of_model(facts, head, name)}
        statement = around


def _is_harmless(facts: Facts, test: ast.expr) -> bool:
    """Whether a test does nothing but ask."""
    inner = [node for node in nodes_in(test) if isinstance(node, ast.Call)]
    return all(called(facts, call) <= _HARMLESS and called(facts, call) for call in inner)


def _is_of_model(facts: Facts, head: ast.expr, name: str) -> bool:
    return any(
        isinstance(node, ast.Name) and node.id == name and only_models(facts, node)
        for node in nodes_in(head)
    )


def _deleted_next(module: Module, statement: ast.stmt) -> Iterator[str]:
    """The variables that the statement below one deletes."""
    block = module.block(statement)
    for below in block[block.index(statement) + 1 : block.index(statement) + 2]:
        if isinstance(below, ast.Delete):
            yield from (n.id for n in below.targets if isinstance(n, ast.Name))
