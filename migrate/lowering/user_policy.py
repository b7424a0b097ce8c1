"""Wrap policies that are functions of the user's: conditions on the module, or more than that."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Definition
from fsdp_migrate.analysis.values import Atom, Bound, Func, Partial, Symbol, Value
from fsdp_migrate.findings.code import Kept, Part, either
from fsdp_migrate.lowering.condition import UNIT, Condition
from fsdp_migrate.lowering.followed import is_same
from fsdp_migrate.lowering.policy_answers import (
    MODULE,
    RECURSE,
    Function,
    always_looks,
    asked_for,
    names_in,
    reads_size,
    takes_questions,
)
from fsdp_migrate.lowering.policy_functions import defaults_of, function_of
from fsdp_migrate.lowering.predicates import reads_of, tested_by
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

_SIMPLE = (ast.Name, ast.Attribute, ast.Constant)


@dataclass(frozen=True)
class Questions:
    """How the functions that a policy can be answer FSDP1."""

    always_look: bool  # into any module


def questions(analysis: Analysis, value: Value) -> Questions | None:
    """How a policy answers, if it is a function of the user's and nothing else, whichever."""
    found = [_function(analysis, atom) for atom in value]
    known = [function for function in found if function is not None]
    if not known or len(known) != len(found):
        return None
    return Questions(all(always_looks(f) and takes_questions(f) for f in known))


def _function(analysis: Analysis, atom: Atom) -> Function | None:
    """The function that is called in the end."""
    if isinstance(atom, Partial):
        given, _ = analysis.calls.get(atom.site, ([], {}))
        if len(given) != 1 or len(given[0]) != 1:
            return None
        return _function(analysis, next(iter(given[0])))
    func = atom.func if isinstance(atom, Bound) else atom
    info = analysis.functions.get(func.site) if isinstance(func, Func) else None
    node = info.node if info is not None else None
    return node if isinstance(node, ast.FunctionDef | ast.Lambda) else None


def predicate_of(
    analysis: Analysis, module: Module, node: ast.expr, at: ast.expr, absorbed: list[Definition]
) -> Condition | None:
    """The condition on the module that a policy of the file is, if sizes don't matter to it.

    It has to mean the same `at` the wrap.
    """
    given: dict[str, ast.expr] = {}
    if isinstance(node, ast.Call) and analysis.value(node.func) == {Symbol("functools.partial")}:
        given = {k.arg: k.value for k in node.keywords if k.arg is not None}
        if len(node.args) != 1 or len(given) != len(node.keywords):
            return None
        node = node.args[0]
    function = function_of(analysis, module, node)
    if function is None or not takes_questions(function):
        return None
    if reads_size(function) or not always_looks(function):
        return None
    more = {**defaults_of(function.args), **given}
    tests = asked_for(function)
    read = names_in(tests)
    if not tests or RECURSE in read or not _all_same(module, tests, function, at):
        return None
    if not all(isinstance(value, _SIMPLE) for name, value in more.items() if name in read):
        return None
    condition = _condition(analysis, module, tests, more)
    if isinstance(function, ast.FunctionDef):
        absorbed.append(function)
    return condition


def _all_same(
    module: Module, tests: tuple[ast.expr, ...], function: Function, at: ast.expr
) -> bool:
    """Whether the tests read nothing of the function but its parameters, and else what `at` has."""
    parameters = {a.arg for a in nodes_in(function.args) if isinstance(a, ast.arg)}
    names = [n for test in tests for n in nodes_in(test) if isinstance(n, ast.Name)]
    return all(n.id in parameters or is_same(module, n, at) for n in names)


def _condition(
    analysis: Analysis, module: Module, tests: tuple[ast.expr, ...], more: dict[str, ast.expr]
) -> Condition:
    kept: list[Part] = []
    for test in tests:
        instead: list[tuple[ast.Name, Part]] = [(n, UNIT) for n in reads_of(test, MODULE)]
        for name, value in more.items():
            instead += [(n, Kept(module.span(value))) for n in reads_of(test, name)]
        swapped = tuple((module.span(n), part) for n, part in instead)
        kept.append(Kept(module.span(test), swapped))
    return tested_by(analysis, either(*kept) if len(kept) > 1 else kept[0], tests, MODULE)
