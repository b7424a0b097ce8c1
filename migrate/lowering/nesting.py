"""Which wraps make units inside the models of other wraps, as in `self.encoder = FSDP(encoder)`.

FSDP1 found out at the first forward which unit is the root, and treated its inputs apart.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from enum import Enum
from functools import cache, cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    Cls,
    Container,
    Instance,
    ModuleRef,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    join,
)
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.syntax.nodes import nodes_in


class Role(Enum):
    """What a wrap makes: the root of a model, a unit inside one, or now this and now that."""

    ROOT = "root"
    INNER = "inner"
    EITHER = "either"


class Nesting:
    """The wraps of a program, and which are inside which."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self._reach: dict[WrapFact, Value] = {}
        self._below = cache(self._parts)  # looking through the heap takes its time

    def role(self, fact: WrapFact) -> Role:
        """What `fact` makes, as far as the values say where it ends up."""
        me = Wrapped(fact.site)
        others = [other for other in self.analysis.wraps.values() if me in self.reach(other)]
        parent = fact.module.parents.get(fact.node)
        targets = parent.targets if isinstance(parent, ast.Assign) else []
        named = any(isinstance(target, ast.Name) for target in targets)
        if others:
            elsewhere = named or isinstance(parent, ast.Return | ast.AnnAssign | ast.Lambda)
            return Role.EITHER if elsewhere else Role.INNER
        unknown = any(
            self._is_unknown(other.inner)
            for other in self.analysis.wraps.values()
            if other is not fact
        )
        in_expression = not isinstance(parent, ast.Assign | ast.AnnAssign | ast.Return)
        if unknown and (in_expression or me in self._held):
            return Role.EITHER
        return Role.ROOT

    def has_inner(self, fact: WrapFact) -> bool:
        """Whether there may be units inside of what `fact` wraps, made by other wraps."""
        if any(isinstance(atom, Wrapped) for atom in self.reach(fact)):
            return True
        return self._is_unknown(fact.inner) and any(
            self.role(other) is not Role.ROOT
            for other in self.analysis.wraps.values()
            if other is not fact
        )

    def reach(self, fact: WrapFact) -> Value:
        """All that is somewhere below the module that `fact` wraps."""
        if fact not in self._reach:
            found: set[Atom] = set()
            # What a variable or field was before and after the wrap is one joined value.
            todo: list[Atom] = [atom for atom in fact.inner if not isinstance(atom, Wrapped)]
            while todo:
                for part in self._below(todo.pop()):
                    if part not in found:
                        found.add(part)
                        todo.append(part)
            self._reach[fact] = frozenset(found)
        return self._reach[fact]

    def _parts(self, atom: Atom) -> Value:
        if isinstance(atom, Wrapped):
            fact = self.analysis.wraps.get(atom.site) if atom.site is not None else None
            return fact.inner - {atom} if fact is not None else NOTHING
        if isinstance(atom, Result):
            args, kwargs = self.analysis.calls.get(atom.site, ([], {}))
            kept = [self._stored[key] for key in (("result", atom.site), ("item", atom.site))]
            return join(*args, *kwargs.values(), *kept)
        if isinstance(atom, Container) or self.analysis.is_module(atom):
            return self.analysis.parts(atom)
        return NOTHING

    @cached_property
    def _stored(self) -> Mapping[object, Value]:
        """What is stored in each object of a library."""
        found: dict[object, Value] = defaultdict(lambda: NOTHING)
        for key, value in self.analysis.heap.items():
            if key[0] in ("result", "item"):
                found[key[:2]] = join(found[key[:2]], value)
        return found

    @cached_property
    def _held(self) -> frozenset[Wrapped]:
        """The models that are stored in an attribute or item of what may be a module."""
        held: set[Wrapped] = set()
        for module in self.analysis.project.modules.values():
            for node in nodes_in(module.tree):
                if isinstance(node, ast.Assign):
                    wraps = self.analysis.wrapped(self.analysis.value(node.value))
                    if wraps and any(self._may_be_module(target) for target in node.targets):
                        held |= wraps
                elif isinstance(node, ast.Call) and len(node.args) == 3:
                    if self.analysis.value(node.func) == {Symbol("builtins.setattr")}:
                        held |= self.analysis.wrapped(self.analysis.value(node.args[2]))
        return frozenset(held)

    def _may_be_module(self, target: ast.expr) -> bool:
        if not isinstance(target, ast.Attribute | ast.Subscript):
            return False
        value = self.analysis.value(target.value)
        return not value or any(
            self.analysis.is_module(atom)
            if isinstance(atom, Instance)
            else not isinstance(atom, Cls | ModuleRef | Container | Symbol)
            for atom in value
        )

    @staticmethod
    def _is_unknown(value: Value) -> bool:
        return not value or any(isinstance(atom, Unknown) for atom in value)
