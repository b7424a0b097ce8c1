"""Functions that list a model's units, written into the file that shards it.

Each lists what FSDP1's own recursion makes of a policy that counts parameters: children before
their parents, without the root.
"""

from __future__ import annotations

from fsdp_migrate.findings.code import code, qualified, variable

UNITS_BY_SIZE = variable("units_by_size")
WHOLE_CLASSES = "whole"  # the parameter of `units_by_size` for classes that stay whole
UNITS_BY_POLICY = variable("units_by_policy")
UNITS_BY_RECURSING = variable("units_by_recursive_policy")

LIST = qualified("torch.nn.ModuleList")
DICT = qualified("torch.nn.ModuleDict")
ATTENTION = qualified("torch.nn.MultiheadAttention")

# Of `size_based_auto_wrap_policy`, for models without modules that it treats in their own way.
BY_SIZE = code(
    "def {units_by_size}(module, min_num_params):\n"
    '    """Submodules with at least that many parameters outside units of their own, children '
    'first."""\n'
    "    units = []\n"
    "    for child in module.children():\n"
    "        inner = {units_by_size}(child, min_num_params)\n"
    "        own = set(child.parameters()).difference(*(unit.parameters() for unit in inner))\n"
    "        units += inner if sum(p.numel() for p in own) < min_num_params else [*inner, child]\n"
    "    return units",
    units_by_size=UNITS_BY_SIZE,
)
BY_SIZE_BESIDE_LISTS = code(
    "def {units_by_size}(module, min_num_params):\n"
    '    """Submodules with at least that many parameters outside units of their own, children '
    'first."""\n'
    "    units = []\n"
    "    for child in module.children():\n"
    "        inner = {units_by_size}(child, min_num_params)\n"
    "        own = set(child.parameters()).difference(*(unit.parameters() for unit in inner))\n"
    "        is_large = sum(p.numel() for p in own) >= min_num_params\n"
    "        if is_large and not isinstance(child, ({list}, {dict})):\n"
    "            inner.append(child)\n"
    "        units += inner\n"
    "    return units",
    units_by_size=UNITS_BY_SIZE,
    list=LIST,
    dict=DICT,
)
BY_SIZE_BESIDE_ALL = code(
    "def {units_by_size}(module, min_num_params):\n"
    '    """Submodules with at least that many parameters outside units of their own, children '
    'first."""\n'
    "    units = []\n"
    "    for child in module.children():\n"
    "        if isinstance(child, {attention}):\n"
    "            continue  # stays whole, in the unit around it\n"
    "        inner = {units_by_size}(child, min_num_params)\n"
    "        own = set(child.parameters()).difference(*(unit.parameters() for unit in inner))\n"
    "        is_large = sum(p.numel() for p in own) >= min_num_params\n"
    "        if is_large and not isinstance(child, ({list}, {dict})):\n"
    "            inner.append(child)\n"
    "        units += inner\n"
    "    return units",
    units_by_size=UNITS_BY_SIZE,
    attention=ATTENTION,
    list=LIST,
    dict=DICT,
)
# Where FSDP1 looks into attention for some models only: with mixed precision.
BY_SIZE_BESIDE_WHOLE = code(
    "def {units_by_size}(module, min_num_params, whole=()):\n"
    '    """Submodules with that many parameters outside inner units, children first; none of '
    '`whole`."""\n'
    "    units = []\n"
    "    for child in module.children():\n"
    "        if isinstance(child, whole):\n"
    "            continue  # stays in the unit around it\n"
    "        inner = {units_by_size}(child, min_num_params, whole)\n"
    "        own = set(child.parameters()).difference(*(unit.parameters() for unit in inner))\n"
    "        is_large = sum(p.numel() for p in own) >= min_num_params\n"
    "        if is_large and not isinstance(child, ({list}, {dict})):\n"
    "            inner.append(child)\n"
    "        units += inner\n"
    "    return units",
    units_by_size=UNITS_BY_SIZE,
    list=LIST,
    dict=DICT,
)
# Of policies that always look into modules, whatever the size.
BY_POLICY = code(
    "def {units_by_policy}(module, policy):\n"
    '    """Submodules that a policy makes units by what units of their own leave, children '
    'first."""\n'
    "    units = []\n"
    "    for child in module.children():\n"
    "        inner = {units_by_policy}(child, policy)\n"
    "        own = set(child.parameters()).difference(*(unit.parameters() for unit in inner))\n"
    "        numel = sum(p.numel() for p in own)\n"
    "        is_unit = policy(module=child, recurse=False, nonwrapped_numel=numel)\n"
    "        units += [*inner, child] if is_unit else inner\n"
    "    return units",
    units_by_policy=UNITS_BY_POLICY,
)
# Of all others, with FSDP1's question whether to look into a module.
BY_RECURSING = code(
    "def {units_by_policy}(module, policy, is_root=True):\n"
    '    """Submodules that a policy makes units, which is asked as FSDP1 did, children first."""\n'
    "    numel = sum(p.numel() for p in module.parameters())\n"
    "    if not policy(module=module, recurse=True, nonwrapped_numel=numel):\n"
    "        return []\n"
    "    units = []\n"
    "    for child in module.children():\n"
    "        units += {units_by_policy}(child, policy, is_root=False)\n"
    "    own = set(module.parameters()).difference(*(unit.parameters() for unit in units))\n"
    "    numel = sum(p.numel() for p in own)\n"
    "    if not is_root and policy(module=module, recurse=False, nonwrapped_numel=numel):\n"
    "        units.append(module)\n"
    "    return units",
    units_by_policy=UNITS_BY_RECURSING,
)
