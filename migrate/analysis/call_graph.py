"""Who calls whom: the calls of every function of the program, and where they stand."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Atom, Bound, Cls, Func, Value
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.project import Project
from fsdp_migrate.syntax.span import Site


@dataclass(frozen=True, eq=False)
class CallGraph:
    """The calls of the program by the function that they reach."""

    callers: Mapping[Site, tuple[ast.Call, ...]]
    homes: Mapping[ast.Call, Module]

    @classmethod
    def of(
        cls,
        project: Project,
        call_nodes: Mapping[Site, ast.Call],
        value: Callable[[ast.AST], Value],
        method: Callable[[Site, str], Site | None],
    ) -> CallGraph:
        """The graph of the calls at `call_nodes`: `value` says what a callee can be."""
        callers: dict[Site, dict[ast.Call, None]] = {}
        for call in call_nodes.values():
            for atom in value(call.func):
                site = called_function(atom, method)
                if site is not None:
                    callers.setdefault(site, {})[call] = None
        homes = {call: project.modules[site.module] for site, call in call_nodes.items()}
        return cls({site: tuple(calls) for site, calls in callers.items()}, homes)

    def callers_of(self, function: Site) -> tuple[ast.Call, ...]:
        """The calls that reach `function`."""
        return self.callers.get(function, ())

    def module_of(self, call: ast.Call) -> Module:
        """The module that `call` is in."""
        return self.homes[call]


def called_function(atom: Atom, method: Callable[[Site, str], Site | None]) -> Site | None:
    """The function of the program that runs when `atom` is called, or None."""
    if isinstance(atom, Bound):
        return atom.func.site
    if isinstance(atom, Func):
        return atom.site
    if isinstance(atom, Cls):
        return method(atom.site, "__init__")
    return None
