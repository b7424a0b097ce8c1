"""Names and attributes of a whole project by what they are called: one walk for all questions."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import all_in

_Node = TypeVar("_Node", ast.Name, ast.Attribute)
Places = Mapping[str, Sequence[tuple[Module, _Node]]]


@dataclass(frozen=True)
class NodeIndex:
    """The variables and attributes of some modules, each with the module it is in."""

    names: Places[ast.Name]
    attributes: Places[ast.Attribute]

    @classmethod
    def of(cls, modules: Iterable[Module]) -> NodeIndex:
        """The index of `modules`."""
        names: dict[str, list[tuple[Module, ast.Name]]] = defaultdict(list)
        attributes: dict[str, list[tuple[Module, ast.Attribute]]] = defaultdict(list)
        for module in modules:
            for name in all_in(module.tree, ast.Name):
                names[name.id].append((module, name))
            for attribute in all_in(module.tree, ast.Attribute):
                attributes[attribute.attr].append((module, attribute))
        return cls(dict(names), dict(attributes))

    def named(self, name: str) -> Sequence[tuple[Module, ast.Name]]:
        """The variables that are called `name`."""
        return self.names.get(name, ())

    def of_attribute(self, name: str) -> Sequence[tuple[Module, ast.Attribute]]:
        """The attributes that are called `name`, whatever they are of."""
        return self.attributes.get(name, ())
