"""Arguments that are None: because the program says so, or only as it is configured today."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import NONE
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.lowering.value_flow import Place, flow_of
from fsdp_migrate.lowering.value_leaves import leaves
from fsdp_migrate.lowering.wrap_site import WrapSite


def says_none(site: WrapSite, argument: Argument, family: str) -> bool:
    """Whether an argument is None for good.

    What is looked up by a setting, in a table that has values of the `family` too, is None until
    somebody sets it otherwise: the code has to stay right then.
    """
    if argument.value != NONE:
        return False
    if argument.node is None or not births_in(site, family):
        return True
    ends = leaves(site.analysis, site.module, argument.node)
    return ends is not None and all(
        isinstance(end.node, ast.Constant) and end.node.value is None for end in ends
    )


def births_in(site: WrapSite, family: str) -> list[Place]:
    """The expressions of the program that make values of a family."""
    flow = flow_of(site.analysis)
    names = site.analysis.project.program_of(site.module.name)
    return [
        place
        for atoms in flow.groups(family)
        for place in flow.births(atoms)
        if place.module.name in names
    ]
