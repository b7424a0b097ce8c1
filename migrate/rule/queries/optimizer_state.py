"""Where the state of an optimizer is taken and loaded, and what is known of the two."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.values import Result
from fsdp_migrate.lowering.state_dict_modes import Setting
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.first_ranks import is_for_first_of_all, read_on_first_of_all
from fsdp_migrate.rule.queries.optimizer_groups import may_have_more_entries
from fsdp_migrate.rule.queries.state_dict_modes import setting_at
from fsdp_migrate.rule.uses import split
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

# The optimizers that keep state for every parameter, from the first step on.
STATEFUL = frozenset(
    f"torch.optim.{name}"
    for name in (
        "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Save:
    """`FSDP.optim_state_dict(model, optim)`, where DCP's function gives the same."""

    model: ast.expr
    optim: ast.expr
    setting: Setting
    model_saved_before: bool  # which shards the root again


@dataclass(frozen=True)
class Load:
    """`optim.load_state_dict(FSDP.optim_state_dict_to_load(model, optim, osd))`, in one or two."""

    model: ast.expr
    optim: ast.expr
    state: ast.expr
    call: ast.Call  # the outer call, `optim.load_state_dict(...)`
    assignment: ast.Assign | None  # `flat = FSDP.optim_state_dict_to_load(...)`, if apart


def model_of(use: Use, facts: Facts) -> ast.expr | None:
    """The argument of a call that is an FSDP model."""
    if use.call is None:
        return None
    every = [*use.call.args, *(keyword.value for keyword in use.call.keywords)]
    return next((node for node in every if facts.analysis.wrapped(facts.value(node))), None)


def is_stateful(optim: ast.expr, facts: Facts) -> bool:
    """Whether the optimizer certainly keeps state."""
    value = facts.value(optim)
    return bool(value) and all(
        isinstance(atom, Result)
        and atom.symbol.startswith("torch.optim.")
        and f"torch.optim.{short(atom.symbol)}" in STATEFUL
        for atom in value
    )


def _is_model(node: ast.expr, facts: Facts) -> bool:
    wraps, others = split(facts.analysis, facts.value(node))
    return bool(wraps) and not others


# ---------------------------------------------------------------------- saving
def find_save(use: Use, facts: Facts) -> Save | None:
    """The call, if DCP's function takes the same arguments and gives the same state."""
    call = use.call
    if call is None:
        return None
    arguments = _save_arguments(call)
    setting = setting_at(facts, call)
    if arguments is None or setting is None:
        return None
    model, optim = arguments
    if not _is_model(model, facts) or not is_stateful(optim, facts):
        return None
    if is_on_every_cpu(setting) and read_on_first_of_all(facts, use.module, call):
        setting = replace(setting, optim_rank0=True)
    if setting.kind == "FULL" and setting.optim_offload != setting.optim_rank0:
        return None
    wraps = facts.analysis.wrapped(facts.value(model))
    if setting.kind == "FULL" and setting.optim_rank0:
        if not is_for_first_of_all(facts, use.module, call, wraps):
            return None  # DCP's first rank is that of all processes, not of a group
    before = _model_saved_before(use, model, facts)
    plans = [facts.plan(wrapped) for wrapped in wraps]
    if not before and any(plan is None or plan.keeps_unsharded is not False for plan in plans):
        return None  # every unit may be unsharded, not only the root
    return Save(model, optim, setting, before)


def is_on_every_cpu(setting: Setting) -> bool:
    """Whether a full state is wanted on the CPU of every rank, which DCP has not."""
    return setting.kind == "FULL" and setting.optim_offload and not setting.optim_rank0


def _save_arguments(call: ast.Call) -> tuple[ast.expr, ast.expr] | None:
    """The model and the optimizer, where nothing else is given."""
    given: dict[str, ast.expr] = dict(zip(("model", "optim"), call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    if set(given) != {"model", "optim"} or len(call.args) + len(call.keywords) != 2:
        return None
    return given["model"], given["optim"]


def _model_saved_before(use: Use, model: ast.expr, facts: Facts) -> bool:
    """Whether the function takes the model's state first, which shards the root again."""
    return any(
        other.module is use.module
        and other.name == "state_dict"
        and other.receiver is not None
        and ast.dump(other.receiver) == ast.dump(model)
        and use.module.function(other.node) is use.module.function(use.node)
        and (other.node.lineno, other.node.col_offset) < (use.node.lineno, use.node.col_offset)
        for other in facts.uses
    )


# ---------------------------------------------------------------------- loading
def find_load(use: Use, facts: Facts) -> Load | None:
    """The call, and what loads its result into the optimizer."""
    call, module = use.call, use.module
    arguments = _load_arguments(call, facts) if call is not None else None
    if call is None or arguments is None or not _is_model(arguments[0], facts):
        return None
    model, optim, state = arguments
    parent = module.parents[call]
    if isinstance(parent, ast.Call) and _loads(parent, call, optim):
        return Load(model, optim, state, parent, None)
    if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
        reader = _only_reader(module, call, parent.targets[0].id)
        outer = module.parents[reader] if reader is not None else None
        if reader is not None and isinstance(outer, ast.Call) and _loads(outer, reader, optim):
            if isinstance(module.parents[outer], ast.Expr):
                return Load(model, optim, state, outer, parent)
    return None


def loads_natively(use: Use, facts: Facts, load: Load) -> bool:
    """Whether DCP's function loads what can come in as FSDP1's did."""
    assert use.call is not None
    setting = setting_at(facts, use.call)
    if setting is None or not is_stateful(load.optim, facts):
        return False
    if setting.kind == "SHARDED":
        return True
    # A full state that flat parameters have left behind shares its `step` tensors.
    plans = [facts.plan(wrapped) for wrapped in facts.analysis.wrapped(facts.value(load.model))]
    flat = any(plan is None or plan.flat_parameters for plan in plans)
    return not flat and not may_have_more_entries(facts, load.optim)


def _only_reader(module: Module, call: ast.Call, name: str) -> ast.Name | None:
    """What alone reads the variable `name`, which nothing else binds."""
    scope = module.function(call) or module.tree
    names = [n for n in nodes_in(scope) if isinstance(n, ast.Name) and n.id == name]
    reads = [node for node in names if isinstance(node.ctx, ast.Load)]
    return reads[0] if len(reads) == 1 and len(names) == 2 else None


def _loads(call: ast.Call, state: ast.expr, optim: ast.expr) -> bool:
    """Whether `call` is `optim.load_state_dict(state)`."""
    return (
        call.args == [state]
        and not call.keywords
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "load_state_dict"
        and ast.dump(call.func.value) == ast.dump(optim)
    )


def _load_arguments(call: ast.Call, facts: Facts) -> tuple[ast.expr, ast.expr, ast.expr] | None:
    """Model, optimizer and state, in whichever of FSDP1's orders they come."""
    names = ("model", "optim", "optim_state_dict")
    given: dict[str, ast.expr] = {k.arg: k.value for k in call.keywords if k.arg}
    if len(call.args) == 3 and facts.analysis.wrapped(facts.value(call.args[1])):
        state, model, optim = call.args
        given |= {"model": model, "optim": optim, "optim_state_dict": state}
    else:
        given |= dict(zip(names, call.args, strict=False))
    if set(given) != set(names) or any(keyword.arg is None for keyword in call.keywords):
        return None
    return given["model"], given["optim"], given["optim_state_dict"]
