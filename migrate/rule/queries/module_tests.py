"""`hasattr(model, "module")`: code for models in a wrapper, which FSDP2's models are not in.

It does no harm where the program does the same with the model itself if there is no wrapper.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.class_tests import asks_for_attribute
from fsdp_migrate.rule.queries.parameters import calls
from fsdp_migrate.rule.queries.values import library_name, literals, models
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.fsdp1_members import UNWRAPPED
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import fresh_copy

LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def tests_for_wrappers(facts: Facts) -> Iterator[tuple[Module, ast.Call]]:
    """The tests of models for an inner module that other code than for the model depends on."""
    for module, call in calls(facts):
        if is_test(facts, call) and models(facts.value(call.args[0])):
            if not is_harmless(module, call):
                yield module, call


def taken_by_name(facts: Facts) -> Iterator[tuple[Module, ast.Call]]:
    """`getattr(model, "module")`, but for those that give the model itself where there is none."""
    for module, call in calls(facts):
        if library_name(facts.value(call.func)) != "builtins.getattr" or len(call.args) < 2:
            continue
        if literals(facts.value(call.args[1])) not in [[name] for name in UNWRAPPED]:
            continue
        if models(facts.value(call.args[0])) and not same(call.args[-1], call.args[0]):
            yield module, call


def is_test(facts: Facts, node: ast.AST) -> bool:
    """Whether `node` is `hasattr(model, "module")`."""
    return isinstance(node, ast.Call) and any(
        asks_for_attribute(facts, node, name) for name in UNWRAPPED
    )


def is_harmless(module: Module, asking: ast.Call) -> bool:
    """Whether the same is done with the model itself where it has no inner module."""
    model, test = asking.args[0], asking
    decided, negated = module.parents[test], False
    if isinstance(decided, ast.UnaryOp) and isinstance(decided.op, ast.Not):
        decided, negated, outer = module.parents[decided], True, decided
    else:
        outer = test
    if not isinstance(decided, ast.If | ast.IfExp | ast.While) or decided.test is not outer:
        return False
    if isinstance(decided, ast.IfExp):
        return same(_without(decided.body, model), _without(decided.orelse, model))
    if isinstance(decided, ast.While):
        return not negated and all(_is_nothing(statement, model) for statement in decided.body)
    below = _below(module, decided)
    branches: tuple[Sequence[ast.stmt], Sequence[ast.stmt]]
    branches = (decided.body, decided.orelse or ())
    if not decided.orelse and isinstance(decided.body[-1], LEAVING):
        branches = (decided.body, below[: len(decided.body)])
    one, other = ([each for each in branch if not _is_nothing(each, model)] for branch in branches)
    return len(one) == len(other) and all(
        same(_without(a, model), _without(b, model)) for a, b in zip(one, other, strict=True)
    )


def _below(module: Module, statement: ast.stmt) -> list[ast.stmt]:
    block = module.block(statement)
    return block[block.index(statement) + 1 :]


def _is_nothing(statement: ast.stmt, model: ast.expr) -> bool:
    """Whether a statement only binds the model to what is inside of it, or does nothing."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return same(statement.targets[0], model) and same(_without(statement.value, model), model)
    return isinstance(statement, ast.Pass)


def _without(node: ast.AST, model: ast.expr) -> ast.AST:
    """`node` with the model in the place of the module inside of it."""
    return _Unwrapped(model).visit(fresh_copy(node))  # type: ignore[no-any-return]


class _Unwrapped(ast.NodeTransformer):
    def __init__(self, model: ast.expr) -> None:
        self._model = model

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if node.attr in UNWRAPPED and same(node.value, self._model):
            return node.value
        return self.generic_visit(node)
