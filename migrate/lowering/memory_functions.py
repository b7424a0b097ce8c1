"""What is done to a unit right before it is sharded, as functions written into the file.

Weights on the meta device get their memory, and what the first rank has is handed out, in the
order in which FSDP1 did it: unit by unit, inside a unit breadth first.
"""

from __future__ import annotations

from fsdp_migrate.findings.code import Code, Literal, Name, code, qualified, variable
from fsdp_migrate.syntax.fsdp1_names import ROOT

FSDP_MODULE = Name(ROOT, "FSDPModule")
DTENSOR = Name("torch.distributed.tensor", "DTensor")
BROADCAST = qualified("torch.distributed.broadcast")
NO_GRAD = qualified("torch.no_grad")
MATERIALIZE = variable("materialize")
MATERIALIZE_OR_RESET = variable("materialize_or_reset")
RESET = variable("materialize_by_reset")
BROADCAST_UNIT = variable("broadcast_from_first_rank")
BROADCAST_IN_MESH = variable("broadcast_in_mesh")

CHILDREN_FIRST = variable("children_first")

# The modules in the order in which FSDP1 gave them their memory, which draws random numbers.
ORDER = code(
    "def {children_first}(module):\n"
    '    """The modules below `module` and itself, children before their parents."""\n'
    "    for child in module.children():\n"
    "        yield from {children_first}(child)\n"
    "    yield module",
    children_first=CHILDREN_FIRST,
)
BY_FUNCTION = code(
    "def {materialize}(unit, init):\n"
    '    """Call `init` with the modules of a unit, if some of it is on the meta device."""\n'
    "    modules = [unit]\n"
    "    for module in modules:  # down to the units that are sharded already\n"
    "        below = (m for m in module.children() if not isinstance(m, {fsdp_module}))\n"
    "        modules += [m for m in below if m not in modules]\n"
    "    own = [(*m.parameters(recurse=False), *m.buffers(recurse=False)) for m in modules]\n"
    "    if any(tensor.is_meta for tensors in own for tensor in tensors):\n"
    "        for module in modules:\n"
    "            init(module)",
    materialize=MATERIALIZE,
    fsdp_module=FSDP_MODULE,
)


def by_reset(device_type: str) -> Code:
    """The function for modules that initialise themselves."""
    return code(
        "@{no_grad}()\n"
        "def {reset}(unit):\n"
        '    """Initialise the modules of a unit, if some of it is on the meta device."""\n'
        "    modules = [unit]\n"
        "    for module in modules:  # down to the units that are sharded already\n"
        "        below = (m for m in module.children() if not isinstance(m, {fsdp_module}))\n"
        "        modules += [m for m in below if m not in modules]\n"
        "    own = [(*m.parameters(recurse=False), *m.buffers(recurse=False)) for m in modules]\n"
        "    if any(tensor.is_meta for tensors in own for tensor in tensors):\n"
        "        for module, tensors in zip(modules, own):\n"
        "            if tensors:\n"
        "                module.to_empty(device={device}, recurse=False)\n"
        "                module.reset_parameters()",
        no_grad=NO_GRAD,
        reset=RESET,
        fsdp_module=FSDP_MODULE,
        device=Literal(device_type),
    )


def by_function_or_reset(device_type: str) -> Code:
    """The function for modules that a function initialises, or they do so themselves."""
    return code(
        "def {materialize}(unit, init):\n"
        '    """Initialise a unit with parts on the meta device: by `init`, if it isn\'t None."""\n'
        "    modules = [unit]\n"
        "    for module in modules:  # down to the units that are sharded already\n"
        "        below = (m for m in module.children() if not isinstance(m, {fsdp_module}))\n"
        "        modules += [m for m in below if m not in modules]\n"
        "    own = [(*m.parameters(recurse=False), *m.buffers(recurse=False)) for m in modules]\n"
        "    if any(tensor.is_meta for tensors in own for tensor in tensors):\n"
        "        for module, tensors in zip(modules, own):\n"
        "            if init is not None:\n"
        "                init(module)\n"
        "            elif tensors:\n"
        "                module.to_empty(device={device}, recurse=False)\n"
        "                with {no_grad}():\n"
        "                    module.reset_parameters()",
        materialize=MATERIALIZE_OR_RESET,
        fsdp_module=FSDP_MODULE,
        device=Literal(device_type),
        no_grad=NO_GRAD,
    )


def from_first_rank(device_type: str) -> Code:
    """The function that hands out what the first rank has of a unit."""
    return code(
        "def {name}(unit):\n"
        '    """Give all ranks what the first one has of a unit that is not sharded yet."""\n'
        "    for tensor in (*unit.buffers(), *unit.parameters()):\n"
        "        if not isinstance(tensor, {dtensor}):\n"
        "            tensor.data = tensor.to({device})\n"
        "            {broadcast}(tensor.detach(), src=0)",
        name=BROADCAST_UNIT,
        device=Literal(device_type),
        dtensor=DTENSOR,
        broadcast=BROADCAST,
    )


def from_first_of_mesh(device_type: str) -> Code:
    """The function that hands out what the first rank of a mesh has; no mesh is all ranks."""
    return code(
        "def {name}(unit, mesh):\n"
        '    """Give the ranks of a mesh what its first one has of a unit not sharded yet."""\n'
        "    groups = [None] if mesh is None else mesh.get_all_groups()\n"
        "    for tensor in (*unit.buffers(), *unit.parameters()):\n"
        "        if not isinstance(tensor, {dtensor}):\n"
        "            tensor.data = tensor.to({device})\n"
        "            for group in groups:\n"
        "                {broadcast}(tensor.detach(), group=group, group_src=0)",
        name=BROADCAST_IN_MESH,
        device=Literal(device_type),
        dtensor=DTENSOR,
        broadcast=BROADCAST,
    )
