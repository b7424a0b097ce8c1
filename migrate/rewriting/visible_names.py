"""The names that are visible at a place of a file, by what binds them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.syntax.module import Module, names_bound_by, scope_nodes
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Span

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Scope = ast.Module | ast.ClassDef | _Function


@dataclass(frozen=True)
class Visible:
    """Names that something else than an import binds, and what imports give names to."""

    own: frozenset[str] = frozenset()
    imports: frozenset[tuple[str, str]] = frozenset()  # the name, and the dotted path

    def __or__(self, other: Visible) -> Visible:
        return Visible(self.own | other.own, self.imports | other.imports)


class VisibleNames:
    """Answers for one file, as it is before any edit."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def visible(self, span: Span) -> Visible:
        """What is visible at `span`: names of a class only for what stands in no function of it."""
        found = self._outside
        around = [(node, names) for place, node, names in self._scopes if place.contains(span)]
        for index, (node, names) in enumerate(around):
            if not isinstance(node, ast.ClassDef) or index == len(around) - 1:
                found |= names
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found |= Visible(frozenset(_perhaps_unbound(node, span)))
        return found

    @cached_property
    def _scopes(self) -> list[tuple[Span, _Scope, Visible]]:
        """The functions and classes, outer before inner."""
        return [
            (self.module.span(node), node, _bound_in(node))
            for node in nodes_in(self.module.tree)
            if isinstance(node, _Function | ast.ClassDef)
        ]

    @cached_property
    def _outside(self) -> Visible:
        """The names of the module, those included that functions bind as `global`."""
        return _bound_in(self.module.tree) | Visible(self._bound_as_global)

    @cached_property
    def _bound_as_global(self) -> frozenset[str]:
        return frozenset(
            name
            for _, scope, names in self._scopes
            for node in scope_nodes(scope)
            if isinstance(node, ast.Global)
            for name in node.names
            if name in names.own
        )

    @cached_property
    def imported_outside(self) -> frozenset[str]:
        """The names that `from` imports outside of functions bind, and no function otherwise."""
        functions = [names.own for _, node, names in self._scopes if isinstance(node, _Function)]
        imported = {
            name
            for node in scope_nodes(self.module.tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            for name in names_bound_by(alias)
        }
        return frozenset(imported.difference(*functions))


def _bound_in(scope: _Scope) -> Visible:
    """The names that are bound in a scope itself."""
    own: set[str] = set()
    imports: set[tuple[str, str]] = set()
    nodes = list(scope_nodes(scope))
    if isinstance(scope, _Function):
        nodes += [node for node in nodes_in(scope.args) if isinstance(node, ast.arg)]
    instead = set(_in_handlers(nodes))
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            if node not in instead:
                imports.update(_targets(node))
        elif not isinstance(node, ast.alias):
            own.update(names_bound_by(node))
    return Visible(frozenset(own), frozenset(imports))


def _perhaps_unbound(function: ast.FunctionDef | ast.AsyncFunctionDef, span: Span) -> Iterator[str]:
    """The names that imports in `function` make local to it, and may not have bound at `span`."""
    for node in scope_nodes(function):
        if isinstance(node, ast.Import | ast.ImportFrom):
            first = node in function.body and (node.end_lineno or node.lineno) < span.line
            if not first:
                yield from (name for name, _ in _targets(node))


def _in_handlers(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What stands in for something that could not be imported."""
    return (n for node in nodes if isinstance(node, ast.ExceptHandler) for n in nodes_in(node))


def _targets(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """The names that an import statement binds, each with what it stands for."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            home = "." * node.level + (f"{node.module}." if node.module else "")
            yield alias.asname or alias.name, f"{home}{alias.name}"
        elif alias.asname is not None:
            yield alias.asname, alias.name
        else:
            package = alias.name.partition(".")[0]
            yield package, package
