"""Strategies that are written where a constructor is called, or in a variable for it alone."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import (
    Definition,
    bindings,
    definition,
    is_imported,
    scope_of,
)
from fsdp_migrate.analysis.values import NONE, Symbol, Value
from fsdp_migrate.findings.code import Kept, Literal, Part, code, variable
from fsdp_migrate.lowering.followed import followed
from fsdp_migrate.lowering.sharding_function import HYBRID, KEEP_UNSHARDED
from fsdp_migrate.lowering.wrap_plan import Reshard
from fsdp_migrate.lowering.wrap_site import NotNative, is_none
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

STRATEGY = f"{ROOT}.ShardingStrategy"
AFTER_FORWARD = variable("reshard_after_forward")
# The default, FULL_SHARD among them: the root keeps its weights, all other units give them back.
DEFAULT = Literal(None)
TYPE = code("bool | None")
KEEP = Literal(False)


@dataclass(frozen=True)
class Written:
    """What a written strategy says of the weights, and what of the program that takes up."""

    reshard: Reshard | None
    absorbed: tuple[Definition, ...] = ()
    replaced: tuple[tuple[ast.expr, Part], ...] = ()


def written_members(value: Value) -> frozenset[str]:
    """The members of the enum that a value can be, if it can be nothing else; None is the first."""
    names: set[str] = set()
    for atom in value:
        if atom in NONE:
            names.add("FULL_SHARD")
        elif isinstance(atom, Symbol) and atom.name.startswith(f"{STRATEGY}."):
            names.add(short(atom.name))
        else:
            return frozenset()
    return frozenset(names)


def written_strategy(
    analysis: Analysis, module: Module, node: ast.expr | None, members: frozenset[str]
) -> Written:
    """One strategy, or a choice between those that differ in when weights are given back.

    Raises:
        NotNative: that isn't what is written.
    """
    if not members:
        raise NotNative("the sharding strategy is known only at run time")
    found = _Written(analysis, module)
    needs_mesh = bool(members & (HYBRID | {"NO_SHARD"}))
    if isinstance(node, ast.Name) and not needs_mesh and definition(module, node) is None:
        return found.chosen(node)
    if len(members) > 1:
        if needs_mesh:
            raise NotNative("the sharding strategy is chosen at run time")
        written, through = found.resolve(node)
        return Written(Reshard(found.after_forward(written)), through)
    through = ()
    if isinstance(node, ast.Name):
        _, through = found.resolve(node)
    elif node is None or isinstance(node, ast.Subscript | ast.Call):
        raise NotNative("the sharding strategy is looked up")
    elif isinstance(node, ast.Attribute) and not found.is_member(node):
        raise NotNative("the sharding strategy comes from a configuration")
    return Written(Reshard(KEEP) if members <= KEEP_UNSHARDED else None, through)


def is_member(analysis: Analysis, node: ast.expr) -> bool:
    """Whether a member of the enum is written there."""
    return isinstance(node, ast.Attribute) and analysis.value(node.value) == frozenset(
        {Symbol(STRATEGY)}
    )


@dataclass(frozen=True, eq=False)
class _Written:
    """The expressions of a file, as members of the enum or choices between them."""

    analysis: Analysis
    module: Module

    def resolve(self, node: ast.expr | None) -> tuple[ast.expr, tuple[Definition, ...]]:
        """`node`, or what the assignment of its variable says, and that assignment."""
        if node is None:
            raise NotNative("an argument is not written at the call")
        if not isinstance(node, ast.Name):
            return node, ()
        found = followed(self.module, node)
        if found is None:
            raise NotNative(f"`{node.id}` is known only at run time")
        return found.value, (found,)

    def chosen(self, name: ast.Name) -> Written:
        """The variable of a strategy, made one of what it says of the weights after a forward.

        Raises:
            NotNative: it is bound to more than members of the enum, or read elsewhere.
        """
        unsure = NotNative(f"`{name.id}` is known only at run time")
        scope = scope_of(self.module, name)
        if scope is None or (
            isinstance(scope, ast.Module) and is_imported(self.analysis, self.module, name.id)
        ):
            raise unsure
        bound = list(bindings(scope, name.id))
        same = [n for n in nodes_in(scope) if isinstance(n, ast.Name) and n.id == name.id]
        named = any(isinstance(n, ast.Constant) and n.value == name.id for n in nodes_in(scope))
        if named or {*same} != {name, *bound}:
            raise unsure
        replaced: list[tuple[ast.expr, Part]] = []
        for target in bound:
            statement = self.module.parents.get(target)
            if isinstance(statement, ast.AnnAssign):
                replaced.append((statement.annotation, TYPE))
            elif not isinstance(statement, ast.Assign) or statement.targets != [target]:
                raise unsure
            assert isinstance(target, ast.Name)
            replaced.append((target, AFTER_FORWARD))
            if statement.value is not None:
                replaced.append((statement.value, self.after_forward(statement.value)))
        return Written(Reshard(AFTER_FORWARD), replaced=tuple(replaced))

    def is_member(self, node: ast.expr) -> bool:
        return is_member(self.analysis, node)

    def after_forward(self, node: ast.expr) -> Part:
        """What an expression of strategies says of the weights after a forward."""
        if isinstance(node, ast.IfExp):
            yes, no = self.after_forward(node.body), self.after_forward(node.orelse)
            return code(
                "{yes} if {test} else {no}", yes=yes, test=Kept(self.module.span(node.test)), no=no
            )
        if is_none(node):
            return DEFAULT
        if isinstance(node, ast.Attribute) and self.is_member(node):
            return KEEP if node.attr in KEEP_UNSHARDED else DEFAULT
        raise NotNative("the sharding strategy is chosen at run time")
