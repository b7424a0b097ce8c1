"""Calls of the program's own functions, methods and classes."""

from __future__ import annotations

from collections.abc import Mapping

from fsdp_migrate.analysis.heap import ANY, Task
from fsdp_migrate.analysis.library.containers import store_item
from fsdp_migrate.analysis.machine import COMPUTED, Machine, Passed
from fsdp_migrate.analysis.parameters import left_out
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.proofs import RETURN
from fsdp_migrate.analysis.scopes import variable
from fsdp_migrate.analysis.values import (
    MODEL,
    NOTHING,
    Atom,
    Bound,
    Cls,
    Container,
    Func,
    Instance,
    Super,
    Unknown,
    Value,
    Wrapped,
    join,
    unknown,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1

DISPATCHING = frozenset({"singledispatch", "singledispatchmethod"})

# With these, what loads a model gives more than the model.
GIVE_MORE = frozenset({"output_loading_info", "return_unused_kwargs"})


def call_function(machine: Machine, func: Func, receiver: Atom | None, passed: Passed) -> Value:
    """What a function gives, called on `receiver` where it is a method."""
    info = machine.program.functions[func.site]
    owner = receiver.cls if isinstance(receiver, Instance) else None
    if isinstance(receiver, Cls):
        owner = receiver.site
    task = Task(info.module.name, func.site, owner)
    args = passed.args
    if receiver is not None and not info.is_static:
        args = [frozenset({receiver}), *args]
    by_name = _by_name(machine, info, args, passed.kwargs)
    for arg in [*info.positional, *info.node.args.kwonlyargs]:
        if arg.arg in by_name:
            machine.heap.write(by_name[arg.arg], "param", task, arg.arg)
            if arg.arg in passed.maybe and arg.arg in info.defaults:
                machine.heap.write(left_out(arg.arg), "unpassed", task, arg.arg)
        else:
            reason = passed.kwargs.get(ANY) or left_out(arg.arg)
            machine.heap.write(reason, "unpassed", task, arg.arg)
    _note_run(machine, func, passed)
    machine.solver.enter(task, machine.open_modes)
    found = machine.heap.read("return", task)
    if (func.site, RETURN) in machine.solver.proofs.known:
        return frozenset({a for a in found if not isinstance(a, Unknown)}) or MODEL
    if info.decorators & DISPATCHING:
        found = join(found, unknown("one of the functions that are registered for a type"))
    return found


def _note_run(machine: Machine, func: Func, passed: Passed) -> None:
    """Note what runs `func`: a call, or the statement that reads a property, enters a context."""
    place = passed.node or machine.statement
    if place is not None:
        machine.record.note_run(func.site, place, machine.module)


def _by_name(
    machine: Machine, info: FunctionInfo, args: list[Value], kwargs: Mapping[str, Value]
) -> dict[str, Value]:
    """The arguments by the parameter that takes them; `*args` and `**kwargs` take the rest."""
    node = info.node
    passed = {arg.arg: value for arg, value in zip(info.positional, args, strict=False)}
    if node.args.vararg is not None:
        star = Container(info.module.site(node.args.vararg), "tuple")
        for value in args[len(info.positional) :]:
            store_item(machine, star, ANY, value)
    names = {arg.arg for arg in [*info.positional, *node.args.kwonlyargs]}
    rest = Container(info.module.site(node.args.kwarg), "dict") if node.args.kwarg else None
    for name, value in kwargs.items():
        if name in names:
            passed[name] = join(passed.get(name, NOTHING), value)
        elif rest is not None:
            store_item(machine, rest, name, value)
    return passed


def instantiate(machine: Machine, cls: Cls, passed: Passed) -> Value:
    """The object that calling a class makes."""
    maker = _call_of_metaclass(machine, cls)
    if maker is None:
        new = machine.classes.method(cls.site, "__new__")
        maker = Func(new) if new is not None else None
    if maker is None:
        return initialised(machine, cls, passed)
    made = call_function(machine, maker, cls, passed)
    return initialised(machine, cls, passed) if Instance(cls.site) in made else made


def _call_of_metaclass(machine: Machine, cls: Cls) -> Func | None:
    """The function that a metaclass of the project's has for calls of its classes."""
    for site in machine.classes.lineage(cls.site):
        for atom in machine.heap.read("meta", site):
            found = machine.classes.method(atom.site, "__call__") if isinstance(atom, Cls) else None
            if found is not None:
                return Func(found)
    return None


def _declared(machine: Machine, cls: Cls) -> list[str]:
    """All that a `**` can set on a new object; nothing if its class may take other names, too."""
    if machine.classes.library_bases(cls.site):
        return []
    infos = [machine.program.classes[site] for site in machine.classes.lineage(cls.site)]
    return [name for info in infos for name in info.field_order]


def initialised(machine: Machine, cls: Cls, passed: Passed) -> Value:
    """An object of `cls`, on which `__init__` has run."""
    info = machine.program.classes[cls.site]
    instance = Instance(cls.site)
    init = machine.classes.method(cls.site, "__init__")
    if init is not None:
        call_function(machine, Func(init), instance, passed)
    elif info.is_dataclass:
        for name, value in zip(info.field_order, passed.args, strict=False):
            machine.heap.write(value, "field", cls.site, name)
        declared = _declared(machine, cls)
        for key, value in passed.kwargs.items():
            for name in declared if key == ANY and declared else (key,):
                machine.heap.write(value, "field", cls.site, name)
    made: Value = frozenset({instance})
    if FSDP1 in machine.classes.library_bases(cls.site):
        made = made | {Wrapped(None)}
    return made


def loaded(machine: Machine, cls: Cls, name: str, passed: Passed) -> Value:
    """The object that a library makes of a class of the program: `Net.from_pretrained(path)`."""
    told = unknown(f"what `{name}` passes")
    if passed.kwargs.keys() & GIVE_MORE:
        return told
    init = machine.classes.method(cls.site, "__init__")
    if init is None:
        return instantiate(machine, cls, Passed())
    info = machine.program.functions[init]
    named = [*info.positional[1:], *info.node.args.kwonlyargs]
    return instantiate(machine, cls, Passed(kwargs={arg.arg: told for arg in named}))


def call_instance(machine: Machine, instance: Instance, passed: Passed) -> Value:
    """What calling an object gives: its `__call__`, or the `forward` of a module."""
    for name in ("__call__", "forward"):
        method = machine.classes.method(instance.cls, name)
        if method is not None:
            return call_function(machine, Func(method), instance, passed)
    return COMPUTED


def bound_method(machine: Machine, func: Func, receiver: Atom) -> Value:
    """A function of a class, taken from an object of it."""
    info = machine.program.functions[func.site]
    if info.is_static:
        return frozenset({func})
    if info.decorators & {"property", "cached_property"}:
        return call_function(machine, func, receiver, Passed())
    if "classmethod" in info.decorators and isinstance(receiver, Instance):
        receiver = Cls(receiver.cls)
    return frozenset({Bound(func, receiver)})


def super_of(machine: Machine) -> Value:
    """What `super()` means in the function that is being run."""
    info = machine.info
    if info is None or info.cls is None or not info.positional:
        return COMPUTED
    first = info.positional[0].arg
    return frozenset(Super(info.cls, atom) for atom in variable(machine, first))
