"""Which FSDP models an expression stands for, or belongs to."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Instance, Result, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import owners
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.syntax.module import Module


def has_models(facts: Facts) -> bool:
    """Whether the program makes FSDP models."""
    return bool(facts.analysis.wraps)


def is_the_only_model(facts: Facts, wraps: frozenset[Wrapped]) -> bool:
    """Whether `wraps` is the one model that the program makes."""
    return len(wraps) == len(facts.analysis.wraps) == 1 and {w.site for w in wraps} == set(
        facts.analysis.wraps
    )


def models_at(facts: Facts, node: ast.AST) -> frozenset[Wrapped]:
    """The FSDP models that `node` can be, among other things."""
    return models(facts.value(node))


def wrapped_above(facts: Facts, module: Module, node: ast.expr) -> frozenset[Wrapped]:
    """The FSDP models that `node`, which is a module by itself, has become above."""
    value = facts.value(node)
    facts_of = facts.analysis.wraps
    return frozenset(
        wrapped
        for wrapped in facts.parts.owners(module, node)
        if wrapped.site is not None and value & facts_of[wrapped.site].inner
    )


def only_models(facts: Facts, node: ast.AST) -> frozenset[Wrapped]:
    """The FSDP models that `node` can be; none if it can be anything else."""
    value = facts.value(node)
    found = models(value)
    return found if len(found) == len(value) else frozenset()


def overrides(facts: Facts, wraps: frozenset[Wrapped], method: str) -> bool:
    """Whether the class of what one of `wraps` wraps has a `method` of its own."""
    facts_of = (facts.analysis.wraps.get(w.site) for w in wraps if w.site is not None)
    return any(
        isinstance(atom, Instance) and facts.analysis.method(atom.cls, method) is not None
        for fact in facts_of
        if fact is not None
        for atom in fact.inner
    )


def models_given(facts: Facts, module: Module, call: ast.Call, parameter: str) -> set[Wrapped]:
    """The FSDP models whose wrap may be given what `call` makes, as `parameter`."""
    site = module.site(call)
    return {
        Wrapped(fact.site)
        for fact in facts.analysis.wraps.values()
        if parameter in fact.arguments
        and any(
            isinstance(atom, Result) and atom.site == site
            for atom in fact.arguments[parameter].value
        )
    }


def models_trained(facts: Facts, node: ast.AST) -> set[Wrapped]:
    """The FSDP models whose parameters `node` is, from before they are wrapped or from after."""
    inner = facts.holders.params_in(facts.value(node))
    wrapped_later = {
        Wrapped(site) for site, fact in facts.analysis.wraps.items() if fact.inner & inner
    }
    return {*owners(facts, node), *wrapped_later}
