"""FSDP1's own groups for hybrid sharding, one inside a node and one across: a mesh by nodes."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.definitions import Definition
from fsdp_migrate.analysis.values import Result, Symbol, Value
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import Code, Kept, Part, code
from fsdp_migrate.lowering.nesting import Role
from fsdp_migrate.lowering.sharding_function import HYBRID
from fsdp_migrate.lowering.wrap_site import WrapSite, resolve
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.paths import path_of

NODE_GROUPS = f"{ROOT}._init_utils._init_intra_and_inter_node_groups"
PARAMETERS = ("global_process_group", "num_devices_per_node")
_WORLD = frozenset({"torch.distributed.group.WORLD", "torch.distributed.GroupMember.WORLD"})
_DEFAULT = "_get_default_group"


def is_node_groups(argument: Argument) -> bool:
    """Whether a process group is the pair that FSDP1's private function makes."""
    return bool(argument.value) and all(
        isinstance(atom, Result) and atom.symbol == NODE_GROUPS for atom in argument.value
    )


def mesh_shape(
    site: WrapSite, argument: Argument, world: Part
) -> tuple[Code, tuple[Definition, ...]] | None:
    """The shape of the mesh, and the definitions that go with the groups; None if not known."""
    if not site.members or not site.members <= HYBRID:
        return None
    if site.role is not Role.ROOT or site.has_inner:
        return None
    made, through = resolve(site, argument.node)
    if not isinstance(made, ast.Call):
        return None
    given = dict(zip(PARAMETERS, made.args, strict=False))
    given |= {k.arg: k.value for k in made.keywords if k.arg is not None}
    if set(given) != set(PARAMETERS) or not is_world(site.analysis.value(given[PARAMETERS[0]])):
        return None
    size = given[PARAMETERS[1]]
    if not _is_repeatable(site, size):
        return None
    per_node = Kept(site.module.span(size))
    return code("({world}() // {node}, {node})", world=world, node=per_node), through


def is_world(value: Value) -> bool:
    """Whether a group is the default one."""
    for atom in value:
        name = atom.name if isinstance(atom, Symbol) else getattr(atom, "symbol", "")
        if name not in _WORLD and not name.endswith(_DEFAULT):
            return False
    return bool(value)


def _is_repeatable(site: WrapSite, node: ast.expr) -> bool:
    """Whether an expression can be written twice."""
    if isinstance(node, ast.Constant) or path_of(node) is not None:
        return True
    return site.calls(node, "torch.cuda.device_count")
