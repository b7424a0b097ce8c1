"""The expressions that make a member of one of FSDP1's enums, or name its class.

A member becomes its label: a string, or a number where the program chooses by number.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Atom, Const, Symbol, Value
from fsdp_migrate.findings.code import Kept, Literal, Part, code
from fsdp_migrate.lowering.sharding_function import MEMBERS
from fsdp_migrate.lowering.value_flow import Place
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.module import Module

MAPPING = "__members__"


@dataclass(frozen=True)
class EnumType:
    """One of FSDP1's enums: its canonical name, and its members in the order of their numbers."""

    symbol: str
    members: tuple[str, ...]

    @property
    def itself(self) -> Value:
        """The class as a value."""
        return frozenset({Symbol(self.symbol)})

    @property
    def mapping(self) -> Value:
        """The dict of its members by their names, as a value."""
        return frozenset({Symbol(f"{self.symbol}.{MAPPING}")})

    def number(self, number: object) -> str | None:
        """The member with a number."""
        known = isinstance(number, int) and 1 <= number <= len(self.members)
        return self.members[number - 1] if known and isinstance(number, int) else None


STRATEGY = EnumType(f"{ROOT}.ShardingStrategy", MEMBERS)
PREFETCH = EnumType(f"{ROOT}.BackwardPrefetch", ("BACKWARD_PRE", "BACKWARD_POST"))


@dataclass(frozen=True, eq=False)
class Birth:
    """An expression that makes a member: a member by its name, or what a label says."""

    place: Place
    enum: EnumType
    member: str | None = None  # the one that it makes for certain
    label: ast.expr | None = None  # else the expression of the member's name, or its number
    by_number: bool = False

    def name(self, numbers: bool = False) -> Part:
        """The name of the member, or its number."""
        if numbers and self.member is not None:
            return Literal(self.enum.members.index(self.member) + 1)
        if self.member is not None:
            return Literal(self.member)
        assert self.label is not None
        kept = Kept(self.place.module.span(self.label))
        if not self.by_number or numbers:
            return kept
        names = tuple(Literal(name) for name in self.enum.members)
        return code("({names},)[{number} - 1]", names=names, number=kept)


def birth_of(analysis: Analysis, enum: EnumType, place: Place) -> Birth | None:
    """What a member is made of at `place`, if that is where one is made."""
    match place.node:
        case ast.Attribute(value=owner, attr=name) if analysis.value(owner) == enum.itself:
            return Birth(place, enum, name) if name in enum.members else None
        case ast.Subscript(value=owner, slice=label) if analysis.value(owner) in (
            enum.itself,
            enum.mapping,
        ):
            return _labelled(analysis, enum, place, label)
        case ast.Call(func=function, args=[owner, label], keywords=[]) if analysis.value(
            owner
        ) == enum.itself and analysis.value(function) == {Symbol("builtins.getattr")}:
            return _labelled(analysis, enum, place, label)
        case ast.Call(func=function, args=[ast.Constant(value=number)], keywords=[]) if (
            analysis.value(function) == enum.itself
        ):
            member = enum.number(number)
            return Birth(place, enum, member) if member is not None else None
        case ast.Call(func=function, args=[label], keywords=[]) if analysis.value(
            function
        ) == enum.itself and not isinstance(label, ast.Starred):
            return Birth(place, enum, label=label, by_number=True)
    return None


def _labelled(analysis: Analysis, enum: EnumType, place: Place, label: ast.expr) -> Birth | None:
    """The member that a name is of."""
    if isinstance(label, ast.Constant):
        name = str(label.value)
        return Birth(place, enum, name) if label.value in enum.members else None
    known = analysis.value(label)
    if any(isinstance(a, Const) and not isinstance(a.value, str | None) for a in known):
        return None
    return Birth(place, enum, label=label)


def members_of(enum: EnumType, atoms: Iterable[Atom], births: Iterable[Birth]) -> frozenset[str]:
    """The members that values can be."""
    found = {birth.member or "" for birth in births}
    named = {short(a.name) for a in atoms if isinstance(a, Symbol)}
    return frozenset(enum.members) if "" in found else frozenset(found | named)


def class_references(
    analysis: Analysis, enum: EnumType, modules: Iterable[Module]
) -> Iterator[Place]:
    """Where the class is named, or the dict of its members."""
    for module in modules:
        for node in module.parents:
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                if analysis.value(node) in (enum.itself, enum.mapping):
                    yield Place(module, node)
