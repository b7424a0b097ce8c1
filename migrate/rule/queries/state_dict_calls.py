"""The calls of `state_dict` and `load_state_dict` that can do without a mode."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.findings.code import Name
from fsdp_migrate.findings.edits import Edit
from fsdp_migrate.lowering.dtensor_state_dicts import by_dtensors
from fsdp_migrate.lowering.state_dict_calls import StateDictCall, by_dcp
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.first_readers import is_for_first_of_all, read_on_first_of_all
from fsdp_migrate.rule.queries.method_calls import values
from fsdp_migrate.rule.queries.state_dict_modes import setting_at
from fsdp_migrate.rule.queries.values import library_name
from fsdp_migrate.syntax.nodes import nodes_in

__all__ = ["StateDictCall", "without_mode", "written"]


def without_mode(use: Use, facts: Facts) -> StateDictCall | None:
    """The call with the options that its mode stands for; None where they can't be written."""
    if use.call is None or use.receiver is None or not use.certain:
        return None
    setting = setting_at(facts, use.call)
    if setting is None:
        return None
    found = StateDictCall(use.module, use.call, use.receiver, setting)
    if use.name == "load_state_dict":
        return _load(use, facts, found)
    if setting.kind == "FULL" and setting.offload != setting.rank0:
        if read_on_first_of_all(facts, use.module, use.call):
            # Nobody misses what the other ranks don't have, or sees what they have.
            setting = replace(setting, rank0=setting.offload)
            found = replace(found, setting=setting)
    # DCP has no full state dict that the first rank alone has, and has on its GPU.
    on_first_gpu = setting.kind == "FULL" and setting.rank0 and not setting.offload
    if on_first_gpu or (found.is_copied and found.binds_names):
        return None
    if setting.kind == "FULL" and setting.rank0:
        if not is_for_first_of_all(facts, use.module, use.call, use.wraps):
            return None  # DCP's first rank is that of all processes, not of a group
    return None if values(use) or _casts_buffers(use, facts) else found


def _casts_buffers(use: Use, facts: Facts) -> bool:
    """Whether FSDP1 may save buffers in another dtype than the model has them in."""
    plans = [facts.plan(wrapped) for wrapped in use.wraps]
    return any(plan is not None and plan.casts_buffers for plan in plans)


def _load(use: Use, facts: Facts, found: StateDictCall) -> StateDictCall | None:
    """`found` with the state that is loaded."""
    named = {keyword.arg: keyword.value for keyword in found.node.keywords}
    strict = named.get("strict")
    states = [value for value in values(use) if value is not strict]
    if len(states) != 1 or not named.keys() <= {"state_dict", "strict"}:
        return None
    if strict is not None and not isinstance(use.module.parents[found.node], ast.Expr):
        return None  # DCP's function fills in absent keys, and doesn't report them
    only_reader = _is_fresh(use, states[0], facts)
    return replace(found, state=states[0], strict=strict, only_reader=only_reader)


def written(found: StateDictCall, facts: Facts) -> tuple[Name | None, tuple[Edit, ...]]:
    """The edits of a call, and the function of DCP that it becomes, if it becomes one."""
    if facts.options.state_dict == "dtensor":
        edits = by_dtensors(found)
        if edits is not None:
            return None, edits
    name, edit = by_dcp(found)
    return name, (edit,)


def _is_fresh(use: Use, state: ast.expr, facts: Facts) -> bool:
    """Whether the state dict was just loaded from a file and nothing else holds it."""
    root = state
    while isinstance(root, ast.Subscript) and isinstance(root.slice, ast.Constant):
        root = root.value
    made: ast.expr | None = root
    if isinstance(root, ast.Name):
        found = definition(use.module, root)
        made = found.value if found is not None else None
    loads = isinstance(made, ast.Call) and library_name(facts.value(made.func)) == "torch.load"
    return loads and not _read_later(use, state)


def _read_later(use: Use, state: ast.expr) -> bool:
    """Whether the same expression is read again below."""
    scope = use.module.function(state) or use.module.tree
    same = ast.dump(state)
    return any(
        isinstance(node, type(state))
        and ast.dump(node) == same
        and (node.lineno, node.col_offset) > (state.lineno, state.col_offset)
        for node in nodes_in(scope)
    )
