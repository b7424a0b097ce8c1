"""Where a function is called by those that it is given to: its decorators, and libraries."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import Bound, Func, Result, Symbol
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

# Packages whose decorators call the function wherever it is called, on every rank.
HARMLESS = frozenset({*sys.stdlib_module_names, "builtins", "click", "hydra", "torch", "typer"})


def calls_inside(
    facts: Facts, module: Module, decorator: ast.expr
) -> list[tuple[Module, ast.Call]] | None:
    """The calls of the function in a decorator's code; None where that can't be seen."""
    maker = decorator.func if isinstance(decorator, ast.Call) else decorator
    value = facts.value(decorator) | facts.value(maker)
    if not value:
        return None
    found: list[tuple[Module, ast.Call]] = []
    for atom in value:
        if isinstance(atom, Func):
            info = facts.analysis.functions[atom.site]
            found += [(info.module, call) for call in _of_parameters(info.module, info.node)]
        elif not isinstance(atom, Symbol | Result) or not _is_harmless(atom):
            return None
    return found


def _is_harmless(atom: Symbol | Result) -> bool:
    name = atom.symbol if isinstance(atom, Result) else atom.name
    return name.partition(".")[0] in HARMLESS


def _of_parameters(module: Module, function: ast.AST) -> list[ast.Call]:
    """The calls of what `function`, or one that is defined in it, is given."""
    return [
        node
        for node in nodes_in(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and (scope := scope_of(module, node.func)) is not None
        and any(isinstance(bound, ast.arg) for bound in bindings(scope, node.func.id))
    ]


def handed_on(
    facts: Facts, module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef
) -> list[tuple[Module, ast.Call]]:
    """The calls of libraries that are given the function, and may run it."""
    graph = facts.analysis.call_graph
    calls = _given_functions(facts).get(module.site(function), {})
    return [(graph.module_of(call), call) for call in calls]


@lru_cache(maxsize=1)
def _given_functions(facts: Facts) -> Mapping[Site, dict[ast.Call, None]]:
    """The calls of libraries that are given functions of the program, by function."""
    found: dict[Site, dict[ast.Call, None]] = defaultdict(dict)
    for call in facts.analysis.call_nodes.values():
        if not any(isinstance(atom, Func | Bound) for atom in facts.value(call.func)):
            for node in [*call.args, *(keyword.value for keyword in call.keywords)]:
                for atom in facts.value(node):
                    function = atom.func if isinstance(atom, Bound) else atom
                    if isinstance(function, Func):
                        found[function.site][call] = None
    return found
