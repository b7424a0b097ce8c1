"""Lists in which sharded parameters stand beside plain ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set

from fsdp_migrate.analysis.values import Result, Unknown, Wrapped
from fsdp_migrate.lowering.parameter_holders import parameter_calls
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import own_nodes, path_of

DEPTH = 3  # variables that are followed


def parameters_given(call: ast.Call) -> ast.expr | None:
    """The parameters that an optimizer is made with."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "params"]
    return next(iter([*call.args[:1], *named]), None)


def is_mixed(
    facts: Facts, module: Module, given: ast.expr, known: Set[Wrapped] = frozenset()
) -> bool:
    """Whether `given` can hold sharded parameters, of the models in `known` say, and plain ones.

    Those that FSDP was told to ignore are plain, and those of modules that nothing shards.
    """
    models = facts.sharded.models(module, given, lists=True) | known
    if not models:
        return False
    plans = [facts.plan(model) for model in models]
    if any(plan is not None and plan.has_ignored for plan in plans):
        return True
    return any(_is_plain(facts, module, receiver) for receiver in _receivers(module, given))


def _receivers(module: Module, given: ast.expr, depth: int = 0) -> Iterator[ast.expr]:
    """The `x` of each `x.parameters()` in an expression and in the variables that it names."""
    for _, call in parameter_calls(given):
        if isinstance(call.func, ast.Attribute):
            yield call.func.value
    if depth < DEPTH:
        for node in ast.walk(given):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                for value in _put_in(module, node):
                    yield from _receivers(module, value, depth + 1)


def _put_in(module: Module, name: ast.Name) -> Iterator[ast.expr]:
    """What is assigned to a variable, or put into the list that it is."""
    for node in own_nodes(module.scope(name)):
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == name.id for t in targets):
                yield node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in {"append", "extend"} and path_of(node.func.value) == name.id:
                yield from node.args


def _is_plain(facts: Facts, module: Module, receiver: ast.expr) -> bool:
    """Whether `receiver` can be a module that nothing shards."""
    inner = {
        atom
        for fact in facts.analysis.wraps.values()
        for atom in fact.inner
        if not isinstance(atom, Unknown)
    }
    value = facts.value(receiver)
    if not value or any(isinstance(a, Wrapped) for a in value) or value & inner:
        return False
    return not _is_part(facts, receiver) and all(
        isinstance(a, Result | Unknown) or facts.analysis.is_module(a) for a in value
    )


def _is_part(facts: Facts, node: ast.expr) -> bool:
    """Whether `node` is `model.part` of something that is sharded."""
    while isinstance(node, ast.Attribute):
        node = node.value
        value = facts.value(node)
        if any(isinstance(a, Wrapped) for a in value):
            return True
        if any(value & fact.inner for fact in facts.analysis.wraps.values()):
            return True
    return False


def made_with(facts: Facts, made: ast.expr) -> Iterator[tuple[Module, ast.Call]]:
    """The calls of a library that `made` can come from, and their files."""
    modules = facts.analysis.project.modules
    for atom in facts.value(made):
        if isinstance(atom, Result):
            call = facts.analysis.call_nodes.get(atom.site)
            if call is not None:
                yield modules[atom.site.module], call


def unscaled_together(facts: Facts, scaler: ast.Call) -> frozenset[Wrapped]:
    """The models whose parameters the scaler unscales together with plain ones."""
    found: set[Wrapped] = set()
    site = next((s for s, c in facts.analysis.call_nodes.items() if c is scaler), None)
    for call in facts.analysis.call_nodes.values():
        func = call.func
        if not isinstance(func, ast.Attribute) or func.attr not in {"step", "unscale_"}:
            continue
        made = any(isinstance(a, Result) and a.site == site for a in facts.value(func.value))
        for home, optimizer in made_with(facts, call.args[0]) if made and call.args else ():
            given = parameters_given(optimizer)
            if given is not None and is_mixed(facts, home, given):
                found |= facts.sharded.models(home, given, lists=True)
    return frozenset(found)
