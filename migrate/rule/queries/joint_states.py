"""The state of a model and that of its optimizer, taken or loaded side by side: one call of DCP."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.lowering.state_dict_calls import StateDictCall, saving_flags
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.first_readers import read_on_first_of_all
from fsdp_migrate.rule.queries.hoisting import guard_of_bare
from fsdp_migrate.rule.queries.optimizer_loads import (
    LOADERS,
    Load,
    find_load,
    load_carried,
    load_flags,
)
from fsdp_migrate.rule.queries.optimizer_saves import FULL, ON_CPU, SAVERS, Save, find_save
from fsdp_migrate.rule.queries.state_dict_calls import without_mode
from fsdp_migrate.rule.queries.state_dict_modes import mode_goes
from fsdp_migrate.rule.queries.straight_lines import is_plain, lies_apart, sequence
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import reads


@dataclass(frozen=True)
class JointSave:
    """`model.state_dict()` and `FSDP.optim_state_dict(model, optim)`, which belong together."""

    module: Module
    model: StateDictCall
    optim: Save
    flags: tuple[str, ...]
    to_cpu: bool  # every rank moves the optimizer's state to the CPU


@dataclass(frozen=True)
class JointLoad:
    """`model.load_state_dict(...)`, and the same for the optimizer.

    The new call takes the place of the statement `at`.
    """

    module: Module
    model: StateDictCall
    optim: Load
    flags: tuple[str, ...]
    at: ast.stmt


def joint_of(use: Use, facts: Facts) -> JointSave | JointLoad | None:
    """What `use` is one half of; None where it stands alone."""
    if facts.options.state_dict != "dcp":
        return None
    pairs = [(use, other) for other in _partners(use, facts)]
    if use.receiver is None:
        pairs = [(other, use) for _, other in pairs]
    found = [made for model, optim in pairs if (made := _joint(model, optim, facts)) is not None]
    if len(found) != 1:
        return None
    other = next(o for m, o in pairs for o in (m, o) if o is not use and _is_half(o, found[0]))
    rivals = [
        (other, third) if other.receiver is not None else (third, other)
        for third in _partners(other, facts)
        if third is not use
    ]
    return None if any(_joint(m, o, facts) is not None for m, o in rivals) else found[0]


def _is_half(use: Use, joint: JointSave | JointLoad) -> bool:
    return use.call is joint.model.node or use.receiver is None


def _partners(use: Use, facts: Facts) -> list[Use]:
    """The uses in the same function that may be the other half."""
    if use.receiver is not None:
        names = {"state_dict": SAVERS, "load_state_dict": LOADERS}.get(use.name)
    else:
        names = {"state_dict": ()} if short(use.name) in SAVERS else {"load_state_dict": ()}
    function = use.module.function(use.node)
    return [
        other
        for other in facts.uses
        if other.module is use.module
        and other.call is not None
        and (other.receiver is None) is (use.receiver is not None)
        and not other.is_part
        and short(other.name) in (names or ())
        and other.module.function(other.node) is function
    ]


def _joint(model: Use, optim: Use, facts: Facts) -> JointSave | JointLoad | None:
    if model.is_part or model.call is None or optim.call is None:
        return None
    if guard_of_bare(model, facts) is not None:
        return None
    legacy = short(optim.name) not in ("optim_state_dict", "optim_state_dict_to_load")
    if not mode_goes(facts, model.call) or not (legacy or mode_goes(facts, optim.call)):
        return None
    found = without_mode(model, facts)
    if found is None or found.ways or not is_plain(model.module, model.call):
        return None
    return (_save if found.state is None else _load)(model, optim, found, facts)


# ---------------------------------------------------------------------- saving
def _save(model: Use, optim: Use, found: StateDictCall, facts: Facts) -> JointSave | None:
    save, module = find_save(optim, facts), model.module
    if save is None or ast.dump(save.model) != ast.dump(found.model):
        return None
    flags = _common(module, found, save, facts)
    if flags is None or not is_plain(module, save.call):
        return None
    first, last = sorted((found.node, save.call), key=lambda call: (call.lineno, call.col_offset))
    between = _between(facts, module, first, last)
    objects = reads(found.model) | reads(save.optim)
    if between is None or not lies_apart(facts, between, objects, objects):
        return None
    return JointSave(module, found, save, flags, save.to_cpu and ON_CPU not in flags)


def _common(
    module: Module, found: StateDictCall, save: Save, facts: Facts
) -> tuple[str, ...] | None:
    """The flags that fit both calls."""
    if found.carried is not None or save.carried is not None:
        return () if found.carried == save.carried else None
    one, two = saving_flags(found.setting), save.flags
    if (FULL in one) is not (FULL in two):
        return None
    if FULL not in one and not found.setting.optim_given:
        return one
    if found.is_copied or save.to_cpu or one != two:
        if FULL in one and save.only_first and read_on_first_of_all(facts, module, found.node):
            return (FULL, ON_CPU)
        # Its tensors go to the CPU below an assignment of its own, or else below a joint one.
        apart = found.is_copied or one != two or isinstance(module.parents[save.call], ast.Assign)
        return None if apart else one
    return one


def _between(
    facts: Facts, module: Module, first: ast.expr, last: ast.expr
) -> list[ast.stmt] | None:
    """The statements between those of two expressions; None where they aren't of one block."""
    one, two = module.statement(first), module.statement(last)
    every = sequence(facts, module, one)
    if one not in every or two not in every:
        return None
    return every[every.index(one) + 1 : every.index(two)] if one is not two else []


# ---------------------------------------------------------------------- loading
def _load(model: Use, optim: Use, found: StateDictCall, facts: Facts) -> JointLoad | None:
    load, module = find_load(optim, facts), model.module
    if load is None or found.state is None or ast.dump(load.model) != ast.dump(found.model):
        return None
    flags = load_flags(optim, facts, load)
    if found.carried is not None:
        flags = () if load_carried(optim, facts, load) == found.carried else None
    elif flags is not None and (found.setting.kind == "FULL") is not (FULL in flags):
        return None
    if flags is None:
        return None
    statements = (module.parents[found.node], module.parents[load.call])
    if not all(isinstance(statement, ast.Expr) for statement in statements):
        return None
    first, last = sorted((found.node, load.call), key=lambda call: (call.lineno, call.col_offset))
    between = _between(facts, module, first, last)
    if between is None:
        return None
    between = [statement for statement in between if statement is not load.assignment]
    at = _place(facts, found, load, (first, last), between)
    return JointLoad(module, found, load, flags, module.statement(at)) if at is not None else None


def _place(
    facts: Facts,
    found: StateDictCall,
    load: Load,
    calls: tuple[ast.Call, ast.Call],
    between: list[ast.stmt],
) -> ast.Call | None:
    """The call whose place the joint one takes: the first, unless what is loaded is made later."""
    assert found.state is not None
    first, last = calls
    states = {found.node: found.state, load.call: load.state}
    objects = reads(found.model) | reads(load.optim)
    for call, moved in ((first, states[last]), (last, states[first])):
        if lies_apart(facts, between, reads(moved) | objects, objects):
            return call
    return None
