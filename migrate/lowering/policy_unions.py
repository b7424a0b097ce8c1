"""Wrap policies that `_or_policy` asks one after the other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Assignment, removable
from fsdp_migrate.analysis.values import Atom, Container, Symbol
from fsdp_migrate.lowering.followed import followed, free_names, is_same
from fsdp_migrate.lowering.value_flow import ValueFlow
from fsdp_migrate.lowering.wrap_policy import OR
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

PARAMETER = "policies"


@dataclass(frozen=True)
class Asked:
    """The policies of a list where each is made, and the variables that only bring them there."""

    made: tuple[ast.expr, ...]
    through: tuple[Assignment, ...]


def asked_policies(analysis: Analysis, module: Module, node: ast.Call) -> Asked | None:
    """The policies that the partial of `_or_policy` at `node` asks, None if that isn't seen."""
    if analysis.value(node.args[0]) != {Symbol(OR)} or node.keywords[0].arg != PARAMETER:
        return None
    listed, through = _brought(analysis, module, node.keywords[0].value)
    if not isinstance(listed, ast.List | ast.Tuple | ast.Set):
        return None
    found = [_brought(analysis, module, item) for item in listed.elts]
    made = tuple(policy for policy, _ in found)
    names = (name for policy in made for name in free_names(policy))
    if not all(isinstance(policy, ast.Call) for policy in made):
        return None
    if not all(is_same(module, name, node) for name in names):
        return None
    return Asked(made, (*through, *(gone for _, each in found for gone in each)))


def _brought(
    analysis: Analysis, module: Module, node: ast.expr
) -> tuple[ast.expr, tuple[Assignment, ...]]:
    """`node`, or what the variable that it names stands for, if nothing else reads that."""
    found = _only_here(analysis, module, node) if isinstance(node, ast.Name) else None
    return (found.value, (found,)) if found is not None else (node, ())


def _only_here(analysis: Analysis, module: Module, name: ast.Name) -> Assignment | None:
    """The assignment of a variable that nothing else reads."""
    found = followed(module, name)
    alone = found is not None and removable(analysis, module, found, {name})
    return found if alone else None


def is_asked(flow: ValueFlow, atoms: frozenset[Atom]) -> bool:
    """Whether some `_or_policy` may ask one of the policies `atoms`."""
    holders = flow.holders(atoms)
    return any(not value.isdisjoint(holders) for value in _lists(flow))


def _lists(flow: ValueFlow) -> Iterator[frozenset[Atom]]:
    """What each use of `_or_policy` is given."""
    for place in flow.places([Symbol(OR)]):
        around = place.module.parents[place.node]
        if isinstance(around, ast.Call):
            for node in (*around.args, *(k.value for k in around.keywords)):
                for inner in nodes_in(node):
                    if isinstance(inner, ast.expr):
                        value = flow.analysis.value(inner)
                        yield frozenset(a for a in value if isinstance(a, Container))
