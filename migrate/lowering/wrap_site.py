"""A constructor call as those look at it who lower its arguments, and their way to say no."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Definition
from fsdp_migrate.analysis.values import NOTHING, Symbol, Value
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import Kept
from fsdp_migrate.findings.options import Style
from fsdp_migrate.lowering.born_values import NOTHING_BORN, BornValues
from fsdp_migrate.lowering.followed import followed
from fsdp_migrate.lowering.nesting import Nesting, Role
from fsdp_migrate.lowering.program_facts import ProgramFacts
from fsdp_migrate.syntax.module import Module


class NotNative(Exception):
    """Why an argument, or the whole call, has no native form."""


@dataclass(frozen=True, eq=False)
class WrapSite:
    """One call, and what is known about it and its program."""

    analysis: Analysis
    program: ProgramFacts
    nesting: Nesting
    fact: WrapFact
    arguments: Mapping[str, Argument]
    members: frozenset[str]  # the sharding strategies that it can have
    device_type: str
    born: BornValues = NOTHING_BORN  # what values become elsewhere
    style: Style = "native"  # "shim": one argument without a native form turns the whole call
    made_by: tuple[WrapFact, ...] = ()  # calls of a partial, which takes the place of this one

    @property
    def module(self) -> Module:
        """The file that the call is in."""
        return self.fact.module

    @cached_property
    def role(self) -> Role:
        """What the call makes: the root of a model or a unit inside one."""
        roles = {self.nesting.role(fact) for fact in self.made_by or (self.fact,)}
        return roles.pop() if len(roles) == 1 else Role.EITHER

    @cached_property
    def has_inner(self) -> bool:
        """Whether the module that is wrapped may hold units already."""
        return any(self.nesting.has_inner(fact) for fact in self.made_by or (self.fact,))

    def value(self, name: str) -> Value:
        """What an argument can be; nothing if it is not given."""
        argument = self.arguments.get(name)
        return argument.value if argument else NOTHING

    def kept(self, node: ast.expr) -> Kept:
        """An expression of the file, for new code."""
        return Kept(self.module.span(node))

    def calls(self, node: ast.expr, name: str) -> bool:
        """Whether `node` is a call of the library's `name`."""
        return isinstance(node, ast.Call) and self.analysis.value(node.func) == {Symbol(name)}


def resolve(site: WrapSite, node: ast.expr | None) -> tuple[ast.expr, tuple[Definition, ...]]:
    """`node`, or what the one assignment of the variable that it names says, and that assignment.

    Raises:
        NotNative: the value is not written where it can be seen.
    """
    if node is None:
        raise NotNative("an argument is not written at the call")
    if not isinstance(node, ast.Name):
        return node, ()
    found = followed(site.module, node)
    if found is None:
        raise NotNative(f"`{node.id}` is known only at run time")
    return found.value, (found,)


def is_none(node: ast.expr) -> bool:
    """Whether `None` is written there."""
    return isinstance(node, ast.Constant) and node.value is None
