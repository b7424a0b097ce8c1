"""What entering a context gives: what its generator yields, or what its `__enter__` returns."""

from __future__ import annotations

from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.values import (
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
