"""`device_id=`, `device_mesh=` and `process_group=`: where the shards of a model go."""

from __future__ import annotations

from dataclasses import replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import NONE, NOTHING, Container, Result, Value, constant
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import Code, Keyword, Literal, Name, Part, call, code, qualified
from fsdp_migrate.lowering.arguments.node_groups import is_node_groups, is_world, mesh_shape
from fsdp_migrate.lowering.device_numbers import has_number
from fsdp_migrate.lowering.nesting import Role
from fsdp_migrate.lowering.sharding_function import HYBRID
from fsdp_migrate.lowering.wrap_plan import Device, Mesh, Parts
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite
from fsdp_migrate.syntax.fsdp1_names import short

MESHES = "torch.distributed.device_mesh"
DEVICE_MESH = Name(MESHES, "DeviceMesh")
INIT_DEVICE_MESH = Name(MESHES, "init_device_mesh")
NEW_GROUP = "torch.distributed.new_group"
WORLD = qualified("torch.distributed.group.WORLD")
WORLD_SIZE = qualified("torch.distributed.get_world_size")
DEVICE_COUNT = qualified("torch.cuda.device_count")
CURRENT_DEVICE = "torch.cuda.current_device"
TWO_NAMES = code('("replicate", "shard")')
GROUP_AT_RUN_TIME = "the process group is known only at run time"


def device_type(analysis: Analysis, device: Value) -> str:
    """The kind of device that `device_id` names."""
    for atom in device:
        if isinstance(atom, Result) and atom.symbol == "torch.device":
            args, kwargs = analysis.calls.get(atom.site, ([], {}))
            kind = constant(args[0] if args else kwargs.get("type", NOTHING))
            if kind is not None and isinstance(kind.value, str):
                return kind.value.partition(":")[0]
    return "cuda"


def lower_device_id(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """FSDP2 shards onto the current device, which has to be the one that FSDP1 was given."""
    node, value = argument.node, argument.value - NONE
    if not value or site.device_type != "cuda" or site.program.sets_cuda_device:
        return parts
    if node is None:
        raise NotNative("the device is known only at run time")
    if all(isinstance(a, Result) and a.symbol == CURRENT_DEVICE for a in value):
        return parts
    scope = site.module.scope(site.fact.node)
    above = (f for f in site.analysis.wraps.values() if f.module is site.module)
    if any(site.module.scope(f.node) is scope and f.site < site.fact.site for f in above):
        return parts
    number = has_number(site.analysis, site.module, node)
    if number is False:
        return parts  # FSDP1 took the current device, too
    certain = number is True and not argument.value & NONE
    return replace(parts, device=Device(node, site.kept(node), certain))


def lower_process_group(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """A group that the program makes itself becomes a mesh of its ranks."""
    if argument.value == NONE or is_world(argument.value - NONE):
        return parts
    if is_node_groups(argument):
        found = mesh_shape(site, argument, WORLD_SIZE)
        if found is None:
            raise NotNative("groups of nodes together with this sharding strategy")
        shape, through = found
        names = Keyword("mesh_dim_names", TWO_NAMES)
        mesh = call(INIT_DEVICE_MESH, Literal(site.device_type), shape, names)
        absorbed = (*parts.absorbed, *through)
        return replace(parts, mesh=Mesh(mesh, is_made=True), absorbed=absorbed)
    made = all(isinstance(a, Result) and a.symbol == NEW_GROUP for a in argument.value)
    if argument.node is None or (site.style == "shim" and not (made and argument.value)):
        raise NotNative(GROUP_AT_RUN_TIME)
    if site.members & (HYBRID | {"NO_SHARD"}):
        raise NotNative("a process group together with this sharding strategy")
    group: Part = site.kept(argument.node)
    if not made or not argument.value:  # it may be None, which is the group of all ranks
        if not site.members:
            raise NotNative(GROUP_AT_RUN_TIME)
        group = code("{group} or {world}", group=group, world=WORLD)
    mesh = code(
        "{meshes}.from_group({group}, {kind})",
        meshes=DEVICE_MESH,
        group=group,
        kind=Literal(site.device_type),
    )
    return replace(parts, mesh=Mesh(mesh, is_made=True))


def lower_device_mesh(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """A mesh stays; FSDP2 wants one of several dimensions to name them."""
    if argument.value == NONE:
        return parts
    if argument.node is None:
        raise NotNative("the device mesh is known only at run time")
    if any(
        _lacks_names(site.analysis, atom) for atom in argument.value if isinstance(atom, Result)
    ):
        raise NotNative("FSDP2 wants names for the dimensions of the mesh")
    return replace(parts, mesh=Mesh(site.kept(argument.node), is_made=False))


def _lacks_names(analysis: Analysis, mesh: Result) -> bool:
    """Whether a mesh that `init_device_mesh` made may have several dimensions without names."""
    if short(mesh.symbol) != "init_device_mesh":
        return False
    args, kwargs = analysis.calls[mesh.site]
    shape = args[1] if len(args) > 1 else kwargs.get("mesh_shape", NOTHING)
    one = any(isinstance(s, Container) and len(analysis.item_keys(s.site)) == 1 for s in shape)
    return not one and "mesh_dim_names" not in kwargs and len(args) < 3


def with_default_mesh(site: WrapSite, parts: Parts) -> Parts:
    """`parts` with a mesh, where FSDP2's own choice would be another than FSDP1's."""
    if parts.mesh is not None:
        return parts
    made = _default_mesh(site, parts)
    if made is None:
        return parts
    if site.role is not Role.ROOT or site.has_inner:
        raise NotNative("the units of one model share a mesh")
    return replace(parts, mesh=Mesh(made, is_made=True))


def _default_mesh(site: WrapSite, parts: Parts) -> Code | None:
    device = Literal(site.device_type)
    names = Keyword("mesh_dim_names", TWO_NAMES)
    if site.members == {"NO_SHARD"}:
        shape = code("({world}(), 1)", world=WORLD_SIZE)
        return call(INIT_DEVICE_MESH, device, shape, names)
    if site.members and site.members <= HYBRID:
        shape = code("({world}() // {node}(), {node}())", world=WORLD_SIZE, node=DEVICE_COUNT)
        return call(INIT_DEVICE_MESH, device, shape, names)
    if site.device_type == "cpu":
        return call(INIT_DEVICE_MESH, device, code("({world}(),)", world=WORLD_SIZE))
    return None
