"""Arguments that are None: because the program says so, or only as it is configured today."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import NONE, constants
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.lowering.value_flow import Place, flow_of
from fsdp_migrate.lowering.value_leaves import leaves
from fsdp_migrate.lowering.wrap_plan import Parts
from fsdp_migrate.lowering.wrap_site import WrapSite, is_none

# What FSDP2 is told in another way if it is set.  (A strategy that is None is FULL_SHARD.)
MATTERING = frozenset(
    {
        "process_group",
        "cpu_offload",
        "auto_wrap_policy",
        "mixed_precision",
        "ignored_modules",
        "ignored_states",
        "param_init_fn",
        "sync_module_states",
        "device_mesh",
        "sharding_strategy",
    }
)


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
    return ends is not None and all(is_none(end.node) for end in ends)


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


def is_setting(site: WrapSite, argument: Argument) -> bool:
    """Whether an argument is off only as the program is configured: by a parameter or a field."""
    known = constants(argument.value)
    if known is None or any(known) or argument.node is None:
        return False
    ends = leaves(site.analysis, site.module, argument.node)
    return ends is None or not all(isinstance(end.node, ast.Constant) for end in ends)


def settings_left_out(site: WrapSite, parts: Parts) -> tuple[str, ...]:
    """The arguments that nothing is left of because they are off as the program is configured."""
    kept = {
        "sync_module_states": parts.initial,
        "mixed_precision": parts.precision,
        "cpu_offload": parts.offload,
        "auto_wrap_policy": parts.units,
        "device_mesh": parts.mesh,
    }
    run = {residue.parameter for residue in parts.residues}
    return tuple(
        name
        for name, argument in site.arguments.items()
        if name in MATTERING
        and name not in run
        and kept.get(name) is None
        and is_setting(site, argument)
    )
