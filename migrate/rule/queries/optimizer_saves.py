"""Where the state of an optimizer is taken, and by which options DCP's function gives the same."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.lowering.state_dict_settings import Setting
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.first_readers import is_for_first_of_all, read_on_first_of_all
from fsdp_migrate.rule.queries.state_dict_modes import Carried, carried_at, setting_at
from fsdp_migrate.rule.queries.values import literals
from fsdp_migrate.rule.uses import split
from fsdp_migrate.syntax.fsdp1_names import short

FULL, ON_CPU = "full_state_dict", "cpu_offload"
# The functions that take an optimizer's state, with the names of their parameters.
SAVERS = {
    "optim_state_dict": ("model", "optim", "optim_state_dict", "group"),
    "full_optim_state_dict": ("model", "optim", "optim_input", "rank0_only", "group"),
    "sharded_optim_state_dict": ("model", "optim", "group"),
}


@dataclass(frozen=True)
class Save:
    """`FSDP.optim_state_dict(model, optim)`, where DCP's function gives the same.

    `to_cpu` says that every rank has to move what it gets to the CPU.  `resharding` is what is
    done before: DCP's function needs sharded parameters, which an evaluation leaves gathered.
    """

    call: ast.Call
    model: ast.expr
    optim: ast.expr
    flags: tuple[str, ...]
    to_cpu: bool
    only_first: bool  # the first rank alone reads the result
    resharding: str  # "": it is done by saving the model; "root", or "all" units
    carried: Carried | None = None  # what says the options, where only the run knows them


def find_save(use: Use, facts: Facts) -> Save | None:
    """The call, if DCP's function takes the same arguments and gives the same state."""
    call = use.call
    given = _given(call, SAVERS[short(use.name)]) if call is not None else None
    if call is None or given is None:
        return None
    setting = _setting(use, given, facts)
    model, optim = given["model"], given["optim"]
    wraps, others = split(facts.analysis, facts.value(model))
    if not wraps or others:
        return None
    only_first = read_on_first_of_all(facts, use.module, call)
    if setting is None:
        carried = carried_at(facts, call) if short(use.name) == "optim_state_dict" else None
        if carried is None or (carried.only_first and not only_first):
            return None
        if carried.may_be_default and (carried.by_type or not only_first):
            return None  # FSDP1 has it on the CPU of every rank, the options don't say so
        if not only_first and not is_for_first_of_all(facts, use.module, call, wraps):
            return None
        resharding = _resharding(use, model, wraps, facts)
        return Save(call, model, optim, (), False, only_first, resharding, carried)
    flags = _flags(use, setting, wraps, only_first, facts)
    if flags is None:
        return None
    copied = setting.kind == "FULL" and setting.optim_offload and ON_CPU not in flags
    is_moved = copied and not isinstance(use.module.parents[call], ast.Assign)
    resharding = _resharding(use, model, wraps, facts, is_moved=is_moved)
    return Save(call, model, optim, flags, copied, only_first, resharding)


def _flags(
    use: Use, setting: Setting, wraps: frozenset[Wrapped], only_first: bool, facts: Facts
) -> tuple[str, ...] | None:
    """The options that are True; None where DCP has nothing like what FSDP1 gives."""
    assert use.call is not None
    if setting.kind != "FULL":
        return (ON_CPU,) if setting.optim_offload and setting.optim_given else ()
    if setting.optim_rank0 and not only_first:
        if not setting.optim_offload:
            return None  # DCP leaves nothing out without taking it to the CPU
        if not is_for_first_of_all(facts, use.module, use.call, wraps):
            return None  # DCP's first rank is that of all processes, not of a group
        return (FULL, ON_CPU)
    return (FULL, ON_CPU) if only_first and setting.optim_offload else (FULL,)


def _setting(use: Use, given: dict[str, ast.expr], facts: Facts) -> Setting | None:
    """What the call gives; the older functions look at no mode."""
    assert use.call is not None
    name = short(use.name)
    if name == "optim_state_dict":
        return setting_at(facts, use.call)
    if name == "sharded_optim_state_dict":
        return Setting("SHARDED", optim_offload=True, optim_given=True)
    rank0 = literals(facts.value(given["rank0_only"])) if "rank0_only" in given else [True]
    if rank0 not in ([True], [False]):
        return None
    return Setting("FULL", optim_offload=True, optim_rank0=rank0 == [True], optim_given=True)


def _given(call: ast.Call, parameters: tuple[str, ...]) -> dict[str, ast.expr] | None:
    """The arguments by name, where they say no more than model, optimizer and rank."""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    given: dict[str, ast.expr] = dict(zip(parameters, call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    if len(given) != len(call.args) + len(call.keywords):
        return None
    if not {"model", "optim"} <= given.keys() <= {"model", "optim", "rank0_only"}:
        return None
    return given


def _resharding(
    use: Use,
    model: ast.expr,
    wraps: frozenset[Wrapped],
    facts: Facts,
    *,
    is_moved: bool = False,
) -> str:
    """What is done before the call, which `is_moved` above its statement."""
    if _model_saved_before(use, model, facts, is_moved=is_moved):
        return ""
    plans = [facts.plan(wrapped) for wrapped in wraps]
    if all(plan is not None and plan.keeps_unsharded is False for plan in plans):
        return "root"
    return "all"  # every unit may be unsharded, not only the root


def _model_saved_before(use: Use, model: ast.expr, facts: Facts, *, is_moved: bool) -> bool:
    """Whether the function takes the model's state first, which shards the root again."""
    end: ast.AST = use.module.statement(use.node) if is_moved else use.node
    return any(
        other.module is use.module
        and other.name == "state_dict"
        and other.receiver is not None
        and ast.dump(other.receiver) == ast.dump(model)
        and use.module.function(other.node) is use.module.function(use.node)
        and use.module.span(other.node).start < use.module.span(end).start
        for other in facts.uses
    )
