"""Parameters that an expression holds although the text around it doesn't show how they get there.

`copy.copy(params)`, a list that a nested function fills, a method that is looked up by its name:
the analysis has followed the parameters, and knows the module that they were asked of.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.parameter_dicts import DICT
from fsdp_migrate.analysis.values import Atom, Container, Method, Params, Value, Wrapped
from fsdp_migrate.lowering.held import Held, Items, Parameter, Row, entries, joined, many
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import path_of

DEPTH = 5  # containers that are looked into
LOADED = (ast.Name, ast.Attribute, ast.Subscript, ast.Call)


class HeldByValue:
    """Answers for one program."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._owners: dict[Value, Value] = {}

    def of(self, module: Module, node: ast.expr | None) -> Held | None:
        """What `node` holds, if it holds parameters of a module that has a name there."""
        if not isinstance(node, LOADED):
            return None
        value = self._analysis.value(node)
        whose = self._owners_in(value)
        if not whose:
            return None
        scope = module.scope(node)
        named = self._named(nodes_in(node), whose) or self._named(own_nodes(scope), whose)
        return self._held(value, named, 0) if named else None

    def _named(self, nodes: Iterable[ast.AST], whose: Value) -> frozenset[str]:
        """The paths under which some of `nodes` read one of the modules."""
        return frozenset(
            path
            for node in nodes
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
            if self._analysis.value(node) & whose
            if (path := path_of(node)) is not None
        )

    def _owners_in(self, value: Value) -> Value:
        """The modules, not sharded yet, that the parameters in `value` were asked of."""
        known = self._owners.get(value)
        if known is not None:
            return known
        found: set[Atom] = set()
        seen: set[Atom] = set()
        level = value
        for _ in range(DEPTH + 1):
            found |= {_whole(a.owner) for a in level if isinstance(a, Params) and _keeps(a)}
            new = {atom for atom in level if isinstance(atom, Container)} - seen
            seen |= new
            level = frozenset().union(*map(self._analysis.dict_values, new))
        self._owners[value] = frozenset(a for a in found if not isinstance(a, Wrapped))
        return self._owners[value]

    def _held(self, value: Value, paths: frozenset[str], depth: int) -> Held | None:
        return joined(*(self._of_atom(atom, paths, depth) for atom in value))

    def _of_atom(self, atom: Atom, paths: frozenset[str], depth: int) -> Held | None:
        if isinstance(atom, Container) and depth < DEPTH:
            inside = self._held(self._analysis.dict_values(atom), paths, depth + 1)
            return entries(None, inside) if atom.kind == "dict" else many(inside)
        if not isinstance(atom, Params) or not _keeps(atom):
            return None
        parameter = Parameter(paths)
        if atom.kind == "one":
            return parameter
        if atom.kind == DICT:
            return entries(None, parameter)
        return Items(Row((None, parameter)) if atom.kind == "named" else parameter)


def _keeps(parameters: Params) -> bool:
    """Whether it is the parameters themselves, and not their names, copies or views."""
    return parameters.kind != "name" and parameters.made is None and not parameters.copied


def _whole(owner: Atom) -> Atom:
    while isinstance(owner, Method):
        owner = owner.receiver
    return owner
