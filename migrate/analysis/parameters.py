"""What the parameters of a function are when it starts: passed, by default, or as annotated."""

from __future__ import annotations

from fsdp_migrate.analysis.annotations import promised
from fsdp_migrate.analysis.machine import Machine
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.values import (
    NOTHING,
    Unknown,
    Value,
    join,
    unknown,
)


def left_out(name: str) -> Value:
    """The reason for a parameter that a call doesn't pass."""
    return unknown(f"parameter `{name}` is left out")


def bind_parameters(machine: Machine, info: FunctionInfo) -> None:
    """Bind the parameters of `info`, whose body `machine` is about to run."""
    args = info.node.args
    for arg in [*info.positional, *args.kwonlyargs]:
        value = machine.heap.read("param", machine.task, arg.arg)
        missing = machine.heap.read("unpassed", machine.task, arg.arg)
        if missing:
            stated = promised(machine, arg.annotation)
            if arg.arg in info.defaults:
                value = join(value, machine.record.value(info.defaults[arg.arg]))
                missing = missing if missing - left_out(arg.arg) else NOTHING
            value = join(value, stated or missing)
        if value and all(isinstance(atom, Unknown) for atom in value):
            value = promised(machine, arg.annotation) or value
        machine.env[arg.arg] = value
    for star, kind in ((args.vararg, "tuple"), (args.kwarg, "dict")):
        if star is not None:
            machine.env[star.arg] = frozenset({machine.container(star, kind)})
