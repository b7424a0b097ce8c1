"""What the parameters of a function are when it starts: passed, by default, or as annotated."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.machine import Machine
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.values import (
    NOTHING,
    Cls,
    Instance,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    join,
    unknown,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short

UNIONS = frozenset({"Optional", "Union"})


def left_out(name: str) -> Value:
    """The reason for a parameter that a call doesn't pass."""
    return unknown(f"parameter `{name}` is left out")


def bind_parameters(machine: Machine, info: FunctionInfo) -> None:
    """Bind the parameters of `info`, whose body `machine` is about to run."""
    args = info.node.args
    defaults = _defaults(info)
    for arg in [*info.positional, *args.kwonlyargs]:
        value = machine.heap.read("param", machine.task, arg.arg)
        missing = machine.heap.read("unpassed", machine.task, arg.arg)
        if missing:
            stated = _annotated(machine, arg.annotation)
            if arg.arg in defaults:
                value = join(value, machine.record.value(defaults[arg.arg]))
                missing = missing if missing - left_out(arg.arg) else NOTHING
            value = join(value, stated or missing)
        if value and all(isinstance(atom, Unknown) for atom in value):
            value = _annotated(machine, arg.annotation) or value
        machine.env[arg.arg] = value
    for star, kind in ((args.vararg, "tuple"), (args.kwarg, "dict")):
        if star is not None:
            machine.env[star.arg] = frozenset({machine.container(star, kind)})


def _defaults(info: FunctionInfo) -> dict[str, ast.expr]:
    """The defaults, by the name of the parameter."""
    args = info.node.args
    named = info.positional[len(info.positional) - len(args.defaults) :]
    defaults = {a.arg: node for a, node in zip(named, args.defaults, strict=True)}
    keyword_only = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return defaults | {a.arg: node for a, node in keyword_only if node is not None}


def _annotated(machine: Machine, annotation: ast.expr | None) -> Value:
    """The instances that an annotation promises: of classes of the project, or FSDP models."""
    found: Value = NOTHING
    for atom in _classes(machine, annotation):
        if isinstance(atom, Cls):
            found = join(found, frozenset({Instance(atom.site)}))
        elif atom == Symbol(FSDP1):
            found = join(found, frozenset({Wrapped(None)}))
    return found


def _classes(machine: Machine, node: ast.expr | None) -> Value:
    """The classes that an annotation names, `Optional` and unions taken apart."""
    if node is None:
        return NOTHING
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return _classes(machine, ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return NOTHING
    if isinstance(node, ast.BinOp):
        return join(_classes(machine, node.left), _classes(machine, node.right))
    if isinstance(node, ast.Subscript):
        outer = machine.evaluate(node.value)
        if any(isinstance(a, Symbol) and short(a.name) in UNIONS for a in outer):
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return join(*(_classes(machine, item) for item in items))
        return NOTHING
    return machine.evaluate(node)
