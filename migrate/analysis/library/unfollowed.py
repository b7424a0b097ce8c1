"""What isn't followed: what comes out of it can be anything, a model that went in among others.

A function of a library that is given a model may give it back; an object of a library that was
given one may hand it out later.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.analysis.heap import Task
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.values import (
    Atom,
    Bound,
    Container,
    Func,
    Instance,
    Partial,
    Result,
    Unknown,
    Value,
    Wrapped,
    join,
    ordered,
    unknown,
)
from fsdp_migrate.syntax.span import Site

DEPTH = 4  # of lists in lists, and of functions that make functions


def given(passed: Passed) -> list[Value]:
    """All that a call passes."""
    return [*passed.args, *passed.kwargs.values()]


def unfollowed(machine: Machine, reason: str, values: Iterable[Value]) -> Value:
    """What comes out of something that isn't followed and was given `values`."""
    return unknown(reason, models_in(machine, values))


def keep(machine: Machine, owner: Result, passed: Passed) -> None:
    """Note that an object of a library may keep the models that it is given."""
    models = models_in(machine, given(passed))
    if models:
        machine.heap.write(unknown("kept by a library", models), "kept", owner.site)


def models_in(machine: Machine, values: Iterable[Value]) -> set[Site]:
    """The places that make the models in `values`, or that the functions in them give back."""
    found: set[Site] = set()
    seen: set[Atom] = set()
    level = join(*values)
    for _ in range(DEPTH):
        found |= _sites(level)
        new = level - seen
        if not new:
            return found
        seen |= new
        level = join(*(_behind(machine, atom) for atom in ordered(new)))
    return found | _sites(level)


def _sites(value: Value) -> set[Site]:
    """The places that make the models that `value` is known to be, or to come from."""
    made = {atom.site for atom in value if isinstance(atom, Wrapped) and atom.site is not None}
    return made.union(*(atom.models for atom in value if isinstance(atom, Unknown)))


def _behind(machine: Machine, atom: Atom) -> Value:
    """What an object holds, or a function gives back, as far as models can be among it."""
    match atom:
        case Container():
            return machine.heap.dict_values(atom)
        case Result():
            return join(
                machine.heap.read("kept", atom.site), machine.heap.read("item", atom.site, "*")
            )
        case Func():
            return _returned(machine, atom, None)
        case Bound():
            owner = atom.receiver.cls if isinstance(atom.receiver, Instance) else None
            return _returned(machine, atom.func, owner)
        case Partial():
            args, kwargs = machine.record.calls.get(atom.site, ([], {}))
            return join(*args, *kwargs.values())
        case _:
            return frozenset()


def _returned(machine: Machine, func: Func, owner: Site | None) -> Value:
    return machine.heap.read("return", Task(func.site.module, func.site, owner))
