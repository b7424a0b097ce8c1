"""The calls of `state_dict` and `load_state_dict` that can do without a mode."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from fsdp_migrate.findings.code import Name, Part
from fsdp_migrate.findings.edits import Edit, ReplaceStatement
from fsdp_migrate.lowering.dtensor_state_dicts import by_dtensors
from fsdp_migrate.lowering.state_dict_calls import StateDictCall, by_dcp, says_alike
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.first_readers import is_for_first_of_all, read_on_first_of_all
from fsdp_migrate.rule.queries.method_calls import values
from fsdp_migrate.rule.queries.missing_keys import is_read_twice, read_keys, with_keys
from fsdp_migrate.rule.queries.state_dict_modes import (
    Carried,
    Setting,
    Ways,
    carried_at,
    setting_at,
    ways_at,
)
from fsdp_migrate.rule.queries.values import library_name
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds

__all__ = ["StateDictCall", "without_mode", "written"]


def without_mode(use: Use, facts: Facts) -> StateDictCall | None:
    """The call with the options that its mode stands for; None where they can't be written."""
    if use.call is None or use.receiver is None or not use.wraps:
        return None
    ways = ways_at(facts, use.call)
    if ways is not None:
        return _by_ways(use, facts, ways)
    if not use.certain:
        return None
    setting = setting_at(facts, use.call)
    carried = carried_at(facts, use.call) if setting is None else None
    if carried is not None:
        found = StateDictCall(use.module, use.call, use.receiver, Setting(), carried=carried)
        return _carried(use, facts, found, carried)
    return _in_setting(use, facts, setting) if setting is not None else None


def _in_setting(use: Use, facts: Facts, setting: Setting) -> StateDictCall | None:
    """The call with the options that `setting` stands for."""
    assert use.call is not None
    assert use.receiver is not None
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


def _by_ways(use: Use, facts: Facts, ways: Ways) -> StateDictCall | None:
    """The call for each way that a condition chooses; None where one can't be written.

    Without a context, a model gives a full state, and what may be none is asked as before.
    """
    if facts.options.state_dict != "dcp":
        return None
    made: list[tuple[Part | None, StateDictCall | None]] = []
    for way in ways.ways:
        setting = way.setting or Setting()
        stays = way.is_other or (way.setting is None and not use.certain)
        call = _in_setting(use, facts, setting)
        if call is None:
            return None
        made.append((way.test, None if stays else call))
    calls = [call for _, call in made if call is not None]
    alike = len(calls) == len(made) and all(says_alike(calls[0], each) for each in calls)
    if alike:
        return calls[0]
    keys = calls[0].strict is not None and read_keys(use.module, calls[0].node) is not None
    return None if keys else replace(calls[0], ways=tuple(made))


def _carried(
    use: Use, facts: Facts, found: StateDictCall, carried: Carried
) -> StateDictCall | None:
    """`found` with options that only the run knows; None where they may mean something else."""
    assert use.call is not None
    if facts.options.state_dict != "dcp":
        return None
    if use.name == "load_state_dict":
        load = _load(use, facts, found)
        return load if load is not None and load.strict is None else None
    if values(use) or _casts_buffers(use, facts):
        return None
    first = read_on_first_of_all(facts, use.module, use.call)
    if carried.only_first and not first:
        return None
    return found if first or is_for_first_of_all(facts, use.module, use.call, use.wraps) else None


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
        # DCP's function fills in absent keys, and doesn't report them.
        if read_keys(use.module, found.node) is None or not is_read_twice(states[0]):
            return None
        if not is_read_twice(found.model):
            return None
    only_reader = _is_fresh(use, states[0], facts)
    return replace(found, state=states[0], strict=strict, only_reader=only_reader)


def written(found: StateDictCall, facts: Facts) -> tuple[Name | None, tuple[Edit, ...]]:
    """The edits of a call, and the function of DCP that it becomes, if it becomes one."""
    if facts.options.state_dict == "dtensor" and not found.ways:
        edits = by_dtensors(found)
        if edits is not None:
            return None, edits
    name, edit = by_dcp(found)
    if isinstance(edit, ReplaceStatement):
        return name, (edit,)
    keys = read_keys(found.module, found.node) if found.strict is not None else None
    if keys is not None and found.state is not None and found.setting.kind == "FULL":
        return name, with_keys(found.module, keys, found.model, found.state, edit.code)
    return name, (edit,)


def _is_fresh(use: Use, state: ast.expr, facts: Facts) -> bool:
    """Whether the state dict was just loaded from a file and nothing else holds it."""
    root = state
    while isinstance(root, ast.Subscript) and isinstance(root.slice, ast.Constant):
        root = root.value
    made: ast.expr | None = root
    if isinstance(root, ast.Name):
        made = _made_above(use.module, root)
    loads = isinstance(made, ast.Call) and library_name(facts.value(made.func)) == "torch.load"
    return loads and not _read_later(use.module, state)


def _made_above(module: Module, name: ast.Name) -> ast.expr | None:
    """What the last assignment above `name` gives it, where nothing in between does otherwise."""
    statement = module.statement(name)
    while True:
        block = module.block(statement)
        for before in reversed(block[: block.index(statement)]):
            if isinstance(before, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == name.id for target in before.targets
            ):
                return before.value
            if name.id in binds(before) and not isinstance(before, ast.Assign | ast.Expr):
                return None
        around = module.parents[statement]
        if not isinstance(around, ast.With | ast.If):
            return None
        statement = around


def _read_later(module: Module, state: ast.expr) -> bool:
    """Whether the same expression is read again below, where both are come by."""
    scope = module.function(state) or module.tree
    text = ast.dump(state)
    return any(
        isinstance(node, type(state))
        and ast.dump(node) == text
        and (node.lineno, node.col_offset) > (state.lineno, state.col_offset)
        and not _excludes(module, state, node)
        for node in nodes_in(scope)
    )


def _excludes(module: Module, one: ast.expr, other: ast.expr) -> bool:
    """Whether the two stand in different branches of one `if`."""
    around = {node: child for child, node in _on_the_way(module, one)}
    for child, node in _on_the_way(module, other):
        if node in around:
            return isinstance(node, ast.If) and (child in node.orelse) is not (
                around[node] in node.orelse
            )
    return False


def _on_the_way(module: Module, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """The nodes around `node`, each with the one inside of it."""
    for around in module.ancestors(node):
        yield node, around
        node = around
