"""What entering a context gives: what its generator yields, or what its `__enter__` returns."""

from __future__ import annotations

from fsdp_migrate.analysis.library.fsdp1 import CONTEXT, entered
from fsdp_migrate.analysis.machine import COMPUTED, Machine, Passed
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Bound,
    Container,
    Func,
    Instance,
    Result,
    Value,
    join,
    ordered,
)

MANAGERS = frozenset({"asynccontextmanager", "contextmanager"})
YIELDED = "context"  # the kind of container that calling a generator behind a context gives
GIVES_BACK = frozenset({"contextlib.aclosing", "contextlib.closing", "contextlib.nullcontext"})


def inside(machine: Machine, context: Value) -> Value:
    """What `with context as x` binds."""
    return join(*(_entered(machine, atom) for atom in ordered(context)))


def leave(machine: Machine, context: Value) -> None:
    """Run what the program's own contexts do when they are left."""
    for atom in ordered(context):
        for name in ("__exit__", "__aexit__") if isinstance(atom, Instance) else ():
            assert isinstance(atom, Instance)
            method = machine.classes.method(atom.cls, name)
            if method is not None:
                machine.call(Bound(Func(method), atom), Passed([COMPUTED] * 3))


def _entered(machine: Machine, atom: Atom) -> Value:
    if isinstance(atom, Container) and atom.kind == YIELDED:
        return machine.heap.dict_values(atom)
    if isinstance(atom, Result) and atom.symbol in GIVES_BACK:
        args, kwargs = machine.record.calls.get(atom.site, ([], {}))
        return join(*args[:1], *kwargs.values()) or frozenset({atom})
    if isinstance(atom, Instance):
        for name in ("__enter__", "__aenter__"):
            method = machine.classes.method(atom.cls, name)
            if method is not None:
                return machine.call(Bound(Func(method), atom), Passed())
    return frozenset({atom})


def note_modes(machine: Machine, made: Container) -> None:
    """Note the state-dict contexts that a generator behind a context has open where it yields."""
    before = machine.solver.modes_of(machine.task)
    opened = {site for site in machine.open_modes - before if site is not None}
    modes: Value = frozenset(Result(CONTEXT, site) for site in opened)
    if machine.open_modes & before:
        modes |= NONE
    machine.heap.write(modes, "modes", made.site)


def enter(machine: Machine, context: Value) -> None:
    """Open the state-dict contexts that entering `context` opens."""
    opened: Value = context
    for atom in ordered(context):
        if isinstance(atom, Container) and atom.kind == YIELDED:
            opened = join(opened - {atom}, machine.heap.read("modes", atom.site))
    machine.open_modes = entered(machine.open_modes, opened)
