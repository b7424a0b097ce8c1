"""Variables: which scope binds a name, what it holds there, and what other scopes see of it."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.machine import Env, Machine
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    ModuleRef,
    Symbol,
    Unknown,
    Value,
    join,
    unknown,
)
from fsdp_migrate.syntax.fsdp1_names import starred
from fsdp_migrate.syntax.module import BUILTINS, Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site


def variable(machine: Machine, name: str) -> Value:
    """The value of a variable, in the scope that binds it."""
    if name in machine.env and name not in machine.outward:
        return machine.env[name]
    if machine.info is None:
        return _other_name(machine, machine.module, name)
    if name in machine.info.locals:
        return NOTHING
    for outer in machine.info.outer:
        if name in machine.program.functions[outer].locals:
            return machine.heap.read("name", outer, name)
    return global_name(machine, machine.module.name, name)


def global_name(machine: Machine, home: str, name: str) -> Value:
    """A name of a module of the project: a variable, a star import, a submodule, a builtin."""
    machine.solver.require(home)
    module = machine.project.modules.get(home)
    if module is None:
        inner = f"{home}/{name}"
        if machine.project.exists(inner):
            return frozenset({ModuleRef(inner)})
        return unknown(f"`{name}` is not among the files")
    found = machine.heap.read("name", home, name)
    return found or _other_name(machine, module, name, builtin=name not in module.global_names)


def _other_name(machine: Machine, module: Module, name: str, builtin: bool = True) -> Value:
    """A name that no variable of `module` has a value for."""
    inner = f"{module.name}/{name}"
    if machine.project.exists(inner):
        return frozenset({ModuleRef(inner)})
    found = _starred_name(machine, module, name)
    if found is not None:
        return found
    if builtin and name in BUILTINS:
        return frozenset({Symbol(f"builtins.{name}")})
    if name in module.global_names:
        return NOTHING
    return unknown(f"`{name}` is not defined in this file")


def _starred_name(machine: Machine, module: Module, name: str) -> Value | None:
    """What a star import of `module` binds to `name`, or None."""
    for node in module.tree.body:
        if not isinstance(node, ast.ImportFrom) or node.names[0].name != "*":
            continue
        home = machine.project.resolve(module, node.module or "", node.level)
        if home is None:
            symbol = starred(node.module, name)
            if symbol is not None:
                return frozenset({Symbol(symbol)})
        elif home not in machine.asked and not name.startswith("_"):
            machine.asked.add(home)
            found = global_name(machine, home, name)
            machine.asked.discard(home)
            if not found:
                return NOTHING  # it has the name, and doesn't know its value yet
            unsure = any(isinstance(atom, Unknown) for atom in found)
            if not unsure and not all(map(_is_builtin, found)):
                return found
    return None


def _is_builtin(atom: Atom) -> bool:
    return isinstance(atom, Symbol) and atom.name.startswith("builtins.")


def bind(machine: Machine, name: str, value: Value) -> None:
    """Bind a variable in the scope that is being run."""
    if machine.cls is not None:
        machine.heap.write(value, "class", machine.cls, name)
    if name in machine.outward:
        machine.heap.write(value, "name", machine.task.module, name)
        for outer in machine.info.outer if machine.info else ():
            machine.heap.write(value, "name", outer, name)
        return
    forget(machine.env, name)
    machine.env[name] = value


def expose(machine: Machine, only_captured: bool = False) -> None:
    """Let other scopes see the variables of this one."""
    scope: str | Site = machine.task.site or machine.task.module
    info = machine.info
    captured = info.captured if info else machine.program.captured[machine.module.name]
    for name, value in machine.env.items():
        if "." not in name and (name in captured or (info is None and not only_captured)):
            machine.heap.write(value, "name", scope, name)


def refresh(machine: Machine) -> None:
    """After a call: a function that is nested here may have bound variables of this scope."""
    info = machine.info
    names = info.rebound if info else machine.program.rebound[machine.module.name]
    scope: str | Site = machine.task.site or machine.task.module
    for name in names:
        if name in machine.env and name not in machine.outward:
            now = machine.heap.read("name", scope, name)
            machine.env[name] = join(machine.env[name], now)


def forget(env: Env, path: str) -> None:
    """Drop what is known of `path.x` when `path` is bound anew."""
    for known in [k for k in env if k.startswith(f"{path}.")]:
        del env[known]


def with_walruses(machine: Machine, before: Env, node: ast.expr) -> Env:
    """The state `before` an expression, with what walruses in it have bound since."""
    for inner in nodes_in(node):
        if isinstance(inner, ast.NamedExpr):
            name = inner.target.id
            before[name] = join(before.get(name, NOTHING), machine.record.value(inner))
    return before


def join_env(one: Env, other: Env) -> Env:
    """Join two states; a path that only one of them knows is dropped, a name is kept."""
    joined: Env = {}
    for name in {**one, **other}:
        if name in one and name in other:
            joined[name] = join(one[name], other[name])
        elif "." not in name or name.endswith("!"):
            joined[name] = one.get(name, NOTHING) | other.get(name, NOTHING)
    return joined


def merge(machine: Machine, other: Env, live: bool) -> None:
    """Join the state of another path into the one that is being run."""
    if live and machine.live:
        machine.env = join_env(machine.env, other)
    elif live:
        machine.env, machine.live = other, True
