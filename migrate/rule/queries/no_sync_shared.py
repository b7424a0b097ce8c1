"""Tests that choose a context for models of FSDP and of DDP alike, told apart."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Symbol
from fsdp_migrate.findings.code import Kept, Literal, Part, both, code, either
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.opposites import opposite
from fsdp_migrate.rule.queries.values import library_name
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module


@dataclass(frozen=True)
class Apart:
    """A test of whether gradients stay on the rank, for either kind of model."""

    sync: Part  # when FSDP's gradients synchronise
    other: Part  # when the context of the other kind is entered
    is_apart: bool  # the test asks for the kind itself


def told_apart(facts: Facts, module: Module, test: ast.expr, model: ast.expr) -> Apart:
    """What `test`, which picks `no_sync`, says for FSDP, and what is left of it for DDP."""
    both_hold = isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And)
    tests = test.values if isinstance(test, ast.BoolOp) and both_hold else [test]
    others = {each: _others(facts, each, model) for each in tests}
    rest = [each for each in tests if others[each] is None]
    if len(rest) == len(tests):
        return Apart(opposite(module, test), Kept(module.span(test)), is_apart=False)
    kept: list[Part] = []
    for each in tests:
        classes = others[each]
        kept.append(Kept(module.span(each)) if classes is None else _is(module, model, classes))
    sync = [opposite(module, each) for each in rest]
    return Apart(_any(sync), kept[0] if len(kept) == 1 else both(*kept), is_apart=True)


def _any(tests: list[Part]) -> Part:
    if not tests:
        return Literal(False)
    return tests[0] if len(tests) == 1 else either(*tests)


def _others(facts: Facts, test: ast.expr, model: ast.expr) -> list[ast.expr] | None:
    """The classes beside FSDP1's that `test` asks the model for, if it is such a test."""
    if not isinstance(test, ast.Call) or len(test.args) != 2 or not same(test.args[0], model):
        return None
    classes = test.args[1]
    if library_name(facts.value(test.func)) != "builtins.isinstance":
        return None
    if not isinstance(classes, ast.Tuple):
        return None
    others = [each for each in classes.elts if Symbol(FSDP1) not in facts.value(each)]
    return others if 0 < len(others) < len(classes.elts) else None


def _is(module: Module, model: ast.expr, classes: list[ast.expr]) -> Part:
    names = tuple(Kept(module.span(each)) for each in classes)
    holes = {"model": Kept(module.span(model))}
    if len(names) == 1:
        return code("isinstance({model}, {name})", name=names[0], **holes)
    return code("isinstance({model}, ({names},))", names=names, model=holes["model"])
