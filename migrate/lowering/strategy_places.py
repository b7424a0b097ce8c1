"""The expressions that make a sharding strategy, or name its class, and what each of them becomes.

A strategy becomes its label: a string, or a number where the program chooses by number.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Atom, Const, Symbol, Value
from fsdp_migrate.findings.code import Kept, Literal, Part, code
from fsdp_migrate.lowering.sharding_function import MEMBERS, Rows
from fsdp_migrate.lowering.value_flow import Place
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.module import Module

STRATEGY = f"{ROOT}.ShardingStrategy"
CLASS: Value = frozenset({Symbol(STRATEGY)})
NUMBERS = dict(enumerate(MEMBERS, start=1))


@dataclass(frozen=True, eq=False)
class Birth:
    """An expression that makes a strategy: a member by its name, or what a label says."""

    place: Place
    member: str | None = None  # the one that it makes for certain
    label: ast.expr | None = None  # else the expression of the member's name, or its number
    by_number: bool = False

    def becomes(self, rows: Rows) -> Part | None:
        """The label, or None if that can't be said."""
        if self.member is not None:
            labels = rows.labels({self.member})
            return Literal(labels[0]) if labels else None
        assert self.label is not None
        kept = Kept(self.place.module.span(self.label))
        numbers = all(isinstance(label, int) for label, _ in rows.rows)
        if self.by_number == numbers:
            return kept
        if numbers:
            return None
        names = tuple(Literal(name) for name in MEMBERS)
        return code("({names})[{number} - 1]", names=names, number=kept)


def birth_of(analysis: Analysis, place: Place) -> Birth | None:
    """What a strategy is made of at `place`, if that is where one is made."""
    match place.node:
        case ast.Attribute(value=owner, attr=name) if analysis.value(owner) == CLASS:
            return Birth(place, name) if name in MEMBERS else None
        case ast.Subscript(value=owner, slice=label) if _is_enum(analysis, owner):
            return _labelled(analysis, place, label)
        case ast.Call(func=function, args=[owner, label], keywords=[]) if analysis.value(
            owner
        ) == CLASS and analysis.value(function) == {Symbol("builtins.getattr")}:
            return _labelled(analysis, place, label)
        case ast.Call(func=function, args=[label], keywords=[]) if analysis.value(
            function
        ) == CLASS and not isinstance(label, ast.Starred):
            if isinstance(label, ast.Constant):
                return _numbered(place, label.value)
            return Birth(place, label=label, by_number=True)
    return None


def _numbered(place: Place, number: object) -> Birth | None:
    """The member that a literal is the number of."""
    return Birth(place, NUMBERS[number]) if isinstance(number, int) and number in NUMBERS else None


def _is_enum(analysis: Analysis, owner: ast.expr) -> bool:
    """Whether `owner` is the enum, or the dict of its members."""
    return analysis.value(owner) in (CLASS, frozenset({Symbol(f"{STRATEGY}.__members__")}))


def _labelled(analysis: Analysis, place: Place, label: ast.expr) -> Birth | None:
    """The member that a name is of."""
    known = analysis.value(label)
    if isinstance(label, ast.Constant):
        return Birth(place, str(label.value)) if label.value in MEMBERS else None
    if any(isinstance(a, Const) and not isinstance(a.value, str | None) for a in known):
        return None
    return Birth(place, label=label)


def members_of(atoms: Iterable[Atom], births: Iterable[Birth]) -> frozenset[str]:
    """The strategies that values can be."""
    found = {birth.member or "" for birth in births}
    named = {short(a.name) for a in atoms if isinstance(a, Symbol)}
    return frozenset(MEMBERS) if "" in found else frozenset(found | named)


def class_references(analysis: Analysis, modules: Iterable[Module]) -> Iterator[Place]:
    """Where the class is named, or the dict of its members."""
    wanted = (CLASS, frozenset({Symbol(f"{STRATEGY}.__members__")}))
    for module in modules:
        for node in module.parents:
            if isinstance(node, ast.Name | ast.Attribute) and analysis.value(node) in wanted:
                if isinstance(node.ctx, ast.Load):
                    yield Place(module, node)
