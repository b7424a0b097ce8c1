"""Who calls whom: the calls of every function of the program, and where they stand.

Calls that are written as such pass arguments that can be read.  Others run a function by the way:
`partial(f, x)()`, `pool.submit(f, x)`, `job()` of an object with `__call__`, a property, `with`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fsdp_migrate.analysis.values import Atom, Bound, Cls, Func, Value
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.project import Project
from fsdp_migrate.syntax.span import Site

Place: TypeAlias = tuple[Module, ast.AST]


@dataclass(frozen=True, eq=False)
class CallGraph:
    """The calls of the program by the function that they reach."""

    callers: Mapping[Site, tuple[ast.Call, ...]]
    homes: Mapping[ast.Call, Module]
    runs: Mapping[Site, tuple[Place, ...]]  # all that runs a function, calls or not

    @classmethod
    def of(
        cls,
        project: Project,
        call_nodes: Mapping[Site, ast.Call],
        value: Callable[[ast.AST], Value],
        method: Callable[[Site, str], Site | None],
        runs: Mapping[Site, Mapping[ast.AST, Module]],
    ) -> CallGraph:
        """The graph of the calls at `call_nodes`: `value` says what a callee can be.

        `runs` are the places where the analysis has seen a function run.
        """
        callers: dict[Site, dict[ast.Call, None]] = {}
        for call in call_nodes.values():
            for atom in value(call.func):
                site = called_function(atom, method)
                if site is not None:
                    callers.setdefault(site, {})[call] = None
        homes = {call: project.modules[site.module] for site, call in call_nodes.items()}
        places = {site: {node: homes[node] for node in calls} for site, calls in callers.items()}
        every = {
            site: {**places.get(site, {}), **runs.get(site, {})} for site in {**places, **runs}
        }
        return cls(
            {site: tuple(calls) for site, calls in callers.items()},
            homes,
            {site: tuple((m, node) for node, m in found.items()) for site, found in every.items()},
        )

    def callers_of(self, function: Site) -> tuple[ast.Call, ...]:
        """The calls of `function` that are written as such: their arguments are its own."""
        return self.callers.get(function, ())

    def runs_of(self, function: Site) -> tuple[Place, ...]:
        """All that runs `function`: its calls, what calls it by the way, and in which module."""
        return self.runs.get(function, ())

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
