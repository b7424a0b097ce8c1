"""The modules inside of FSDP1's wrappers, under names of their own.

FSDP1 leaves them as they are.  `fully_shard` changes them in place: what was another object than
the model, and of another class, is the model itself and an FSDPModule then.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import NONE, Value, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.bare_modules import may_be_bare
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

_IDENTITY = ast.Is | ast.IsNot | ast.Eq | ast.NotEq
_MODULE = "module"


def is_inner(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is what a wrapper was made around, and nothing else, after that was done.

    A parameter of a function may be given before, and what is wrapped below is no wrapper's yet.
    """
    value = facts.value(node) - NONE
    if not value or not value <= _inner(facts) or _is_parameter(module, node):
        return False
    function = module.function(node)
    return not any(
        fact.module is module
        and module.function(fact.node) is function
        and fact.node.lineno >= getattr(node, "lineno", 0)
        and any(path_of(each) == path_of(node) for each in nodes_in(fact.node))
        for fact in facts.analysis.wraps.values()
    )


def identities(facts: Facts) -> Iterator[tuple[Module, ast.Compare, frozenset[Wrapped]]]:
    """The comparisons of a model with the module inside of it, which begin to hold."""
    if not facts.analysis.wraps:
        return
    for module in facts.analysis.project.modules.values():
        for node in nodes_in(module.tree) if module.given else ():
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], _IDENTITY):
                left, right = node.left, node.comparators[0]
                sides = ((left, right), (right, left))
                found = next((w for s in sides if (w := _compared(facts, module, *s))), None)
                if found:
                    yield module, node, found


def _compared(facts: Facts, module: Module, model: ast.expr, other: ast.expr) -> frozenset[Wrapped]:
    """The models that `model` is, and `other` the module inside of."""
    if isinstance(other, ast.Attribute) and other.attr == _MODULE:
        return frozenset()  # which has a rule of its own
    wraps, value = facts.analysis.wrapped(facts.value(model)), facts.value(other)
    if not isinstance(other, ast.Call):  # in a loop over modules it may be the model as well
        wraps = {wrapped for wrapped in wraps if wrapped not in value}
    found = frozenset(w for w in wraps if _inner_of(facts, w) & value)
    if found or not isinstance(other, ast.Call) or not wraps & value:
        return found
    # a function that takes the wrapper off
    is_bare = may_be_bare(facts, module, other) and not may_be_bare(facts, module, model)
    return frozenset(wraps & value) if is_bare else frozenset()


def _inner(facts: Facts) -> Value:
    """What wrappers are made around; a model that is bound to the name of its module isn't that."""
    found = frozenset(atom for fact in facts.analysis.wraps.values() for atom in fact.inner)
    return found - facts.analysis.wrapped(found)


def _inner_of(facts: Facts, wrapped: Wrapped) -> Value:
    fact = facts.analysis.wraps.get(wrapped.site) if wrapped.site is not None else None
    return fact.inner - facts.analysis.wrapped(fact.inner) if fact is not None else frozenset()


def _is_parameter(module: Module, node: ast.expr) -> bool:
    scope = scope_of(module, node) if isinstance(node, ast.Name) else None
    bound = bindings(scope, node.id) if scope is not None and isinstance(node, ast.Name) else ()
    return any(isinstance(each, ast.arg) for each in bound)
