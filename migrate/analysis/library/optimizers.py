"""What optimizers hold: groups of the parameters that they are given, and state for each."""

from __future__ import annotations

from dataclasses import replace

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.containers import elements, store_item
from fsdp_migrate.analysis.machine import COMPUTED, Machine, Passed
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    Container,
    Instance,
    Method,
    Params,
    Result,
    Super,
    Value,
    join,
    ordered,
)
from fsdp_migrate.syntax.span import Site

GROUPS_AND_STATE = frozenset({"param_groups", "state"})
PACKAGES = ("torch.optim.", "torch.distributed.optim.")
# What a group holds besides its parameters.
SETTINGS = (
    "alpha", "amsgrad", "betas", "capturable", "dampening", "differentiable", "eps", "foreach",
    "fused", "initial_lr", "lr", "lr_decay", "maximize", "momentum", "momentum_decay", "name",
    "nesterov", "rho", "weight_decay",
)  # fmt: skip
# What PyTorch's optimizers keep for a parameter, in tensors like it.
STATES = (
    "acc_delta", "ax", "exp_avg", "exp_avg_sq", "exp_inf", "grad_avg", "max_exp_avg_sq",
    "momentum_buffer", "prev", "square_avg", "sum",
)  # fmt: skip


def of_optimizer(machine: Machine, atom: Result, attr: str) -> Value:
    """`optimizer.param_groups` and `optimizer.state`, of an optimizer made by a library."""
    args, kwargs = machine.record.calls.get(atom.site, ([], {}))
    given = args[0] if args else kwargs.get("params", NOTHING)
    if not _is_given_parameters(machine, given):
        return NOTHING
    return (
        _groups(machine, atom.site, given)
        if attr == "param_groups"
        else _state(machine, atom.site, given)
    )


def made_by_super(machine: Machine, receiver: Super, name: str, passed: Passed) -> None:
    """`super().__init__(params, ...)` in an optimizer of the program's own."""
    if name == "__init__" and isinstance(receiver.receiver, Instance) and passed.node is not None:
        set_up(machine, receiver.receiver, passed)


def set_up(machine: Machine, made: Instance, passed: Passed) -> None:
    """Note what an optimizer of the program's own has been given by what it derives from."""
    bases = machine.classes.library_bases(made.cls)
    given = passed.argument(0, "params")
    if passed.node is None or not any(name.startswith(PACKAGES) for name in bases):
        return
    site = machine.module.site(passed.node)
    machine.heap.write(_groups(machine, site, given), "field", made.cls, "param_groups")
    machine.heap.write(_state(machine, site, given), "field", made.cls, "state")


def _is_given_parameters(machine: Machine, given: Value) -> bool:
    return any(isinstance(atom, Params) for atom in _parameters(machine, given))


def _parameters(machine: Machine, given: Value, depth: int = 0) -> Value:
    """The parameters in a list of them, or of groups."""
    found: set[Atom] = set()
    for atom in ordered(given):
        if isinstance(atom, Params):
            found.add(atom if atom.kind != "named" else replace(atom, kind=""))
        elif isinstance(atom, Container) and depth < 3:
            held = elements(machine, frozenset({atom}))
            if atom.kind == "dict":
                held = machine.heap.read("item", atom.site, "params")
            inner = _parameters(machine, held, depth + 1)
            found |= {replace(a, kind="") for a in inner if isinstance(a, Params)}
        else:
            found |= COMPUTED
    return frozenset(found)


def _groups(machine: Machine, site: Site, given: Value) -> Value:
    """The list of groups: those that were given as such, and one for parameters alone."""
    made = Container(replace(site, end_col=-1), "list")
    for atom in ordered(given):
        for inner in ordered(elements(machine, frozenset({atom}))):
            if isinstance(inner, Container) and inner.kind == "dict":
                store_item(machine, made, ANY, frozenset({inner}))
                _fill(machine, inner)
    group = Container(replace(site, end_col=-2), "dict")
    loose = frozenset(a for a in given if isinstance(a, Params)) | _loose(machine, given)
    if loose or not machine.heap.read("item", made.site, ANY):
        store_item(machine, group, "params", loose or COMPUTED)
        _fill(machine, group)
        store_item(machine, made, ANY, frozenset({group}))
    return frozenset({made})


def _loose(machine: Machine, given: Value) -> Value:
    """The parameters that stand in lists, in no group."""
    lists = frozenset(a for a in given if isinstance(a, Container) and a.kind != "dict")
    inside = (elements(machine, frozenset({atom})) for atom in ordered(lists))
    return frozenset(replace(a, kind="") for a in join(*inside) if isinstance(a, Params))


def _fill(machine: Machine, group: Container) -> None:
    for key in SETTINGS:
        store_item(machine, group, key, COMPUTED)


def _state(machine: Machine, site: Site, given: Value) -> Value:
    """The state by parameter; the count of steps is a plain tensor."""
    kept = Container(replace(site, end_col=-3), "dict")
    for atom in ordered(_parameters(machine, given)):
        tensor: Atom = atom
        if isinstance(atom, Params):
            tensor = Method(replace(atom, kind="one"), "state")
        for key in STATES:
            store_item(machine, kept, key, frozenset({tensor}))
    store_item(machine, kept, "step", COMPUTED)
    by_parameter = Container(replace(site, end_col=-4), "dict")
    store_item(machine, by_parameter, ANY, frozenset({kept}))
    return frozenset({by_parameter})
