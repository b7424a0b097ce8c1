"""Where a state is loaded into an optimizer, and by which options DCP's function does the same."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.analysis.values import NONE, Result
from fsdp_migrate.lowering.state_dict_settings import Setting
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.optimizer_groups import may_have_more_entries
from fsdp_migrate.rule.queries.state_dict_modes import Carried, carried_at, setting_at
from fsdp_migrate.rule.queries.values import literals
from fsdp_migrate.rule.uses import split
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

FULL, FROM_FIRST = "full_state_dict", "broadcast_from_rank0"
# The optimizers that keep state for every parameter, from the first step on.
STATEFUL = frozenset(
    f"torch.optim.{name}"
    for name in (
        "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop",
    )
)  # fmt: skip
SGD = "torch.optim.SGD"
# The functions whose result an optimizer loads, with the names of their parameters.
LOADERS = {
    "optim_state_dict_to_load": ("model", "optim", "optim_state_dict"),
    "shard_full_optim_state_dict": ("optim_state_dict", "model", "optim_input", "optim"),
    "scatter_full_optim_state_dict": ("optim_state_dict", "model", "optim_input", "optim"),
    "flatten_sharded_optim_state_dict": ("optim_state_dict", "model", "optim"),
}
WITHOUT_OPTIMIZER = ("shard_full_optim_state_dict", "scatter_full_optim_state_dict")
STATES = ("full_optim_state_dict", "sharded_optim_state_dict")  # other names of the state


@dataclass(frozen=True)
class Load:
    """`optim.load_state_dict(FSDP.optim_state_dict_to_load(model, optim, osd))`, in one or two."""

    model: ast.expr
    optim: ast.expr
    state: ast.expr
    call: ast.Call  # the outer call, `optim.load_state_dict(...)`
    assignment: ast.Assign | None  # `flat = FSDP.optim_state_dict_to_load(...)`, if apart


def keeps_state(optim: ast.expr, facts: Facts) -> bool:
    """Whether the optimizer certainly keeps state."""
    value = facts.value(optim)
    return bool(value) and all(
        isinstance(atom, Result) and _keeps_state(atom, facts) for atom in value
    )


def _keeps_state(made: Result, facts: Facts) -> bool:
    if not made.symbol.startswith("torch.optim."):
        return False
    name = f"torch.optim.{short(made.symbol)}"
    if name != SGD:
        return name in STATEFUL
    args, kwargs = facts.analysis.calls[made.site]
    momentum = literals(args[2] if len(args) > 2 else kwargs.get("momentum", NONE))
    return bool(momentum) and all(isinstance(m, int | float) and m > 0 for m in momentum or ())


def find_load(use: Use, facts: Facts) -> Load | None:
    """The call, and what loads its result into the optimizer."""
    call, module = use.call, use.module
    given = _given(use, call, facts) if call is not None else None
    if call is None or given is None:
        return None
    model, state, optim = given["model"], given["optim_state_dict"], given.get("optim")
    wraps, others = split(facts.analysis, facts.value(model))
    if not wraps or others:
        return None
    parent = module.parents[call]
    if isinstance(parent, ast.Call) and (owner := _loaded_by(parent, call, optim)) is not None:
        return Load(model, owner, state, parent, None)
    if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
        reader = _only_reader(module, call, parent.targets[0].id)
        outer = module.parents[reader] if reader is not None else None
        if reader is not None and isinstance(outer, ast.Call):
            owner = _loaded_by(outer, reader, optim)
            if owner is not None and isinstance(module.parents[outer], ast.Expr):
                return Load(model, owner, state, outer, parent)
    return None


def load_carried(use: Use, facts: Facts, load: Load) -> Carried | None:
    """What says the options of a load, where only the run knows them."""
    if use.call is None or short(use.name) != "optim_state_dict_to_load":
        return None
    if setting_at(facts, use.call) is not None or not keeps_state(load.optim, facts):
        return None
    plans = [facts.plan(wrapped) for wrapped in facts.analysis.wrapped(facts.value(load.model))]
    groups = [plan.fact.arguments.get("process_group") for plan in plans if plan is not None]
    if any(group is not None and group.value != NONE for group in groups):
        return None  # the broadcast is one of all processes
    return carried_at(facts, use.call)


def load_flags(use: Use, facts: Facts, load: Load) -> tuple[str, ...] | None:
    """The options that are True; None where DCP's function may not load what comes in."""
    setting = _setting(use, facts)
    if setting is None:
        return None
    if setting.kind != "FULL":
        return ()
    if not keeps_state(load.optim, facts):
        return None  # DCP's function refuses a full state without any tensor
    plans = [facts.plan(wrapped) for wrapped in facts.analysis.wrapped(facts.value(load.model))]
    # A full state that flat parameters have left behind shares its `step` tensors, which only a
    # broadcast takes apart; it alone takes entries that the optimizer lacks.
    flat = any(plan is None or plan.flat_parameters for plan in plans)
    if not (setting.optim_rank0 or flat or may_have_more_entries(facts, load.optim)):
        return (FULL,)
    groups = [plan.fact.arguments.get("process_group") for plan in plans if plan is not None]
    if any(group is not None and group.value != NONE for group in groups):
        return None  # the broadcast is one of all processes
    return (FULL, FROM_FIRST)


def _setting(use: Use, facts: Facts) -> Setting | None:
    """What the state is like; the older functions look at no mode."""
    assert use.call is not None
    name = short(use.name)
    if name == "optim_state_dict_to_load":
        return setting_at(facts, use.call)
    if name == "flatten_sharded_optim_state_dict":
        return Setting("SHARDED")
    return Setting("FULL", optim_rank0=name == "scatter_full_optim_state_dict")


def _only_reader(module: Module, call: ast.Call, name: str) -> ast.Name | None:
    """What alone reads the variable `name`, which nothing else binds."""
    scope = module.function(call) or module.tree
    names = [n for n in nodes_in(scope) if isinstance(n, ast.Name) and n.id == name]
    reads = [node for node in names if isinstance(node.ctx, ast.Load)]
    return reads[0] if len(reads) == 1 and len(names) == 2 else None


def _loaded_by(call: ast.Call, state: ast.expr, optim: ast.expr | None) -> ast.expr | None:
    """The optimizer, if `call` is `optim.load_state_dict(state)`."""
    if (
        call.args != [state]
        or call.keywords
        or not isinstance(call.func, ast.Attribute)
        or call.func.attr != "load_state_dict"
    ):
        return None
    owner = call.func.value
    return owner if optim is None or ast.dump(owner) == ast.dump(optim) else None


def _given(use: Use, call: ast.Call, facts: Facts) -> dict[str, ast.expr] | None:
    """Model, optimizer and state by name, in whichever of FSDP1's orders they come."""
    name = short(use.name)
    parameters: tuple[str, ...] = LOADERS[name]
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    if name == "optim_state_dict_to_load" and len(call.args) > 1:
        if facts.analysis.wrapped(facts.value(call.args[1])):
            parameters = ("optim_state_dict", "model", "optim")  # of FSDP1's first releases
    given: dict[str, ast.expr] = dict(zip(parameters, call.args, strict=False))
    for keyword in call.keywords:
        key = "optim_state_dict" if keyword.arg in STATES else keyword.arg
        if key is None or key in given:
            return None
        given[key] = keyword.value
    if len(call.args) > len(parameters) or not {"model", "optim_state_dict"} <= given.keys():
        return None
    if given.keys() - {"model", "optim", "optim_state_dict"}:
        return None
    return given if "optim" in given or name in WITHOUT_OPTIMIZER else None
