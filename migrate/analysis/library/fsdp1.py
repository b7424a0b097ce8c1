"""What the analysis knows of FullyShardedDataParallel itself."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.models import Models
from fsdp_migrate.analysis.library.modules import RETURN_SELF
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.record import Modes
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    Result,
    Symbol,
    Value,
    Wrapped,
    join,
)
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.syntax.fsdp1_members import ATTRIBUTES
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT
from fsdp_migrate.syntax.span import Site

# What FullyShardedDataParallel itself defines, and nn.Module methods that it overrides.
FSDP_METHODS = frozenset(
    {
        "check_is_root", "clip_grad_norm_", "flatten_sharded_optim_state_dict", "fsdp_modules",
        "full_optim_state_dict", "get_state_dict_type", "load_state_dict", "named_buffers",
        "named_parameters", "no_sync", "optim_state_dict", "optim_state_dict_to_load",
        "register_comm_hook", "rekey_optim_state_dict", "scatter_full_optim_state_dict",
        "set_state_dict_type", "shard_full_optim_state_dict", "sharded_optim_state_dict",
        "state_dict", "state_dict_type", "summon_full_params", "parameters", "buffers", "modules",
        "forward", "named_modules", "children", "named_children", *RETURN_SELF, *ATTRIBUTES,
    }
)  # fmt: skip
# Methods that FSDP1 models have and plain modules do not.
OWN_METHODS = frozenset({"clip_grad_norm_", "no_sync"})
SET_MODE = f"{FSDP1}.set_state_dict_type"
CONTEXT = f"{FSDP1}.state_dict_type"
STATE_DICT_CONTEXTS = frozenset({CONTEXT, SET_MODE})
WRAP_PARAMETERS = (
    "module",
    "process_group",
    "sharding_strategy",
    "cpu_offload",
    "auto_wrap_policy",
    "backward_prefetch",
    "mixed_precision",
    "ignored_modules",
    "param_init_fn",
    "device_id",
    "sync_module_states",
    "forward_prefetch",
    "limit_all_gathers",
    "use_orig_params",
    "ignored_states",
    "device_mesh",
)

KNOWN = frozenset({*WRAP_PARAMETERS, ANY})

models = Models()


@models(FSDP1)
def wrap(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """`FullyShardedDataParallel(module, ...)`."""
    return make_wrap(machine, node, passed, direct=True)


@models(f"{ROOT}.wrap.wrap")
def wrap_function(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """`wrap(module)`, which wraps inside of `enable_wrap`."""
    return make_wrap(machine, node, passed, direct=False)


def make_wrap(
    machine: Machine, node: ast.Call, passed: Passed, direct: bool, through: Site | None = None
) -> Value:
    """The model that a constructor call makes; its arguments are noted."""
    wraps = machine.record.wraps
    site = machine.module.site(node)
    known = wraps.get(site)
    nodes: dict[str, ast.expr] = dict(zip(WRAP_PARAMETERS, node.args, strict=False))
    nodes |= {k.arg: k.value for k in node.keywords if k.arg is not None}
    given = {**dict(zip(WRAP_PARAMETERS, passed.args, strict=False)), **passed.kwargs}
    # A dict need not have what FSDP1 refuses: it has been taken out before.
    given = {n: v for n, v in given.items() if n in KNOWN or n not in passed.maybe}
    opaque = ANY in given or (known is not None and known.opaque)
    arguments = dict(known.arguments) if known is not None else {}
    for name, value in given.items():
        if name != ANY:
            old = arguments.get(name)
            value = join(value, old.value) if old is not None else value
            arguments[name] = Argument(nodes.get(name) if direct else None, value)
    direct = direct and (known is None or known.direct)
    partials = known.partials if known is not None else frozenset[Site]()
    partials |= {through} if through is not None else set()
    wraps[site] = WrapFact(site, machine.module, node, direct, arguments, opaque, partials=partials)
    machine.heap.write(wraps[site].inner, "inner", site)
    return frozenset({Wrapped(site)})


def call_back(
    machine: Machine, function: Atom, passed: Passed, through: Site | None = None
) -> Value:
    """What a function gives that a library calls, which makes a model if it is the class itself.

    A partial does so with what it has been given as well.
    """
    if function == Symbol(FSDP1) and passed.node is not None:
        return make_wrap(machine, passed.node, passed, direct=False, through=through)
    return machine.call(function, passed)


def inner_of(machine: Machine, model: Wrapped) -> Value:
    """What a model wraps, as far as it has been seen."""
    if model.site is None:
        return NOTHING
    return machine.heap.read("inner", model.site) - {model}


def entered(modes: Modes, context: Value) -> Modes:
    """The state-dict contexts that are open after entering `context`."""
    opened = {atom.site for atom in context if _is_mode(atom) and isinstance(atom, Result)}
    if not opened:
        return modes
    certain = all(_is_mode(atom) for atom in context)
    return frozenset(opened) if certain else modes | opened


def _is_mode(atom: object) -> bool:
    return isinstance(atom, Result) and atom.symbol in STATE_DICT_CONTEXTS


def sets_mode(value: Value) -> bool:
    """Whether `value` is what a call that sets the state-dict mode for good gives."""
    return any(isinstance(atom, Result) and atom.symbol == SET_MODE for atom in value)
