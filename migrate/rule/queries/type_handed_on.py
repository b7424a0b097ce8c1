"""`map(type, model.modules())`: the function that asks for the class of what may be sharded."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.library.modules import SUBMODULES
from fsdp_migrate.analysis.values import Atom, Method, Wrapped, symbols
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.after_wrap import Running
from fsdp_migrate.rule.queries.parameters import calls
from fsdp_migrate.rule.queries.sharded_classes import sharded_classes
from fsdp_migrate.syntax.module import Module

TYPE = frozenset({"builtins.type"})


def type_handed_on(facts: Facts) -> Iterator[tuple[Module, ast.expr]]:
    """Where `type` is an argument beside the modules that it will be asked about."""
    running = Running(facts)
    for module, call in calls(facts):
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        asking = [node for node in given if symbols(facts.value(node)) == TYPE]
        if not asking or not sharded_classes(facts, module):
            continue
        others = (atom for node in given for atom in facts.sharded.held(node))
        if any(map(_is_sharded, others)) and running.may_be_sharded(module, call):
            yield module, asking[0]


def _is_sharded(atom: Atom) -> bool:
    """Whether it is a model, or the modules in one."""
    if isinstance(atom, Method) and atom.name in SUBMODULES:
        return True
    return isinstance(atom, Wrapped)
