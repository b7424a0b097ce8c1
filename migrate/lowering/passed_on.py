"""What an argument has become that comes from elsewhere, where values are migrated at birth."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import NONE, Value
from fsdp_migrate.lowering.born_values import Stays
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite

WORDS = {"offload": "CPU offload", "precision": "mixed precision"}


def passed_on(site: WrapSite, node: ast.expr, value: Value, family: str) -> object:
    """The form that the values of a `family` have at a constructor, which is handed `node`.

    Raises:
        NotNative: some of them stay what they are, or can't be told.
    """
    said = f"`{node.id}`" if isinstance(node, ast.Name) else f"the {WORDS[family]}"
    unknown = NotNative(f"{said} is known only at run time")
    names = site.analysis.project.program_of(site.module.name)
    groups = [g for g in site.born.groups if g.family == family and not g.modules.isdisjoint(names)]
    if value - NONE:
        groups = [group for group in groups if group.atoms & value]
        if len(groups) != 1 or not value - NONE <= groups[0].atoms:
            raise unknown
    for group in groups:
        if isinstance(group, Stays):
            raise NotNative(group.words)
    if not groups:
        raise unknown
    return getattr(groups[0], "form", None) if value - NONE else None
