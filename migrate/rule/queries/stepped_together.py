"""Models whose parameters an optimizer, a clip or a scaler takes in one list.

PyTorch's operations on lists of tensors (`foreach`) take plain tensors or DTensors, not both: a
list of FSDP1's parameters and of FSDP2's is refused in the first step.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Container, Value, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.mixed_lists import (
    CLIPS,
    FOREACH,
    SCALERS,
    made_with,
    models_inside,
    parameters_given,
)
from fsdp_migrate.rule.queries.parameter_lists import groups_in, is_of_loop, receivers
from fsdp_migrate.rule.queries.parameters import called, calls
from fsdp_migrate.rule.queries.values import may_come_from
from fsdp_migrate.syntax.module import Module

DEPTH = 3  # lists in lists


def stepped_together(facts: Facts) -> Iterator[frozenset[Wrapped]]:
    """The models of each list that is taken at once."""
    scaled = _scaled(facts)
    for module, call in calls(facts):
        names = called(facts, call)
        given = parameters_given(call) if names & (FOREACH | CLIPS) else None
        if given is not None:
            by_group = not names & CLIPS and call not in scaled
            for group in groups_in(module, given) if by_group else [given]:
                yield from _of_list(facts, module, group, by_group=by_group)


def _scaled(facts: Facts) -> set[ast.Call]:
    """The optimizers whose gradients a scaler unscales, those of all groups at once."""
    return {
        made
        for _, call in calls(facts)
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"step", "unscale_"}
        if call.args and may_come_from(facts.value(call.func.value), SCALERS)
        for _, made in made_with(facts, call.args[0])
    }


def _of_list(
    facts: Facts, module: Module, given: ast.expr, *, by_group: bool
) -> Iterator[frozenset[Wrapped]]:
    """The models of an expression, each time that its function is called."""
    asked = list(receivers(module, given))
    if len(asked) == 1 and not (isinstance(asked[0], ast.Name) and is_of_loop(module, asked[0])):
        for atom in facts.value(asked[0]):
            yield models_inside(facts, atom)
        return
    handed_on = list(_handed_on(facts, module, given))
    for value in handed_on or [facts.value(given)]:
        yield from _of_value(facts, module, given, value, by_group=by_group)
    yield frozenset(
        model for each in asked for a in facts.value(each) for model in models_inside(facts, a)
    )


def _handed_on(facts: Facts, module: Module, given: ast.expr) -> Iterator[Value]:
    """What a function is called with, each time, if `given` is a parameter of it."""
    function = module.scope(given)
    if not isinstance(given, ast.Name) or not isinstance(function, ast.FunctionDef):
        return
    arguments = function.args
    if given.id in {
        a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    }:
        for call in facts.analysis.call_graph.callers_of(module.site(function)):
            for each in (*call.args, *(keyword.value for keyword in call.keywords)):
                yield facts.value(each)


def _of_value(
    facts: Facts, module: Module, given: ast.expr, value: Value, *, by_group: bool
) -> Iterator[frozenset[Wrapped]]:
    """The models of one list; of each dict in it, where groups are taken one by one."""
    groups = [
        group
        for atom in value
        if isinstance(atom, Container)
        for group in facts.analysis.dict_values(atom)
        if isinstance(group, Container) and group.kind == "dict"
    ]
    if not by_group or not groups:
        yield frozenset(_models(facts, module, given, value))
    for group in groups if by_group else ():
        yield frozenset(_models(facts, module, given, frozenset({group})))


def _models(
    facts: Facts, module: Module, given: ast.expr, value: Value, depth: int = 0
) -> Iterator[Wrapped]:
    for atom in value:
        if not isinstance(atom, Container):
            yield from facts.sharded.wraps_of(module, given, atom)
        elif depth < DEPTH:
            yield from _models(facts, module, given, facts.analysis.dict_values(atom), depth + 1)
