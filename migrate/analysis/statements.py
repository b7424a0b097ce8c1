"""What a simple statement does, and how definitions and imports bind their names."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from fsdp_migrate.analysis.annotations import promises_model
from fsdp_migrate.analysis.assignment import assign, settle_state
from fsdp_migrate.analysis.decorators import decorated
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.containers import merge_dict, takes_out
from fsdp_migrate.analysis.library.fsdp1 import entered, sets_mode
from fsdp_migrate.analysis.machine import Execute, Machine
from fsdp_migrate.analysis.narrowing import narrow
from fsdp_migrate.analysis.scopes import bind, global_name
from fsdp_migrate.analysis.values import (
    NONE,
    NOTHING,
    Cls,
    Container,
    Func,
    ModuleRef,
    Symbol,
    Value,
    constant,
    join,
    unknown,
)
from fsdp_migrate.syntax.fsdp1_names import canonical
from fsdp_migrate.syntax.nodes import children, nodes_in


def look(machine: Machine, node: ast.stmt) -> None:
    """Look at the expressions in a statement that does nothing else."""
    for child in children(node):
        if isinstance(child, ast.expr):
            machine.evaluate(child)


def _expression(machine: Machine, node: ast.Expr) -> None:
    value = machine.evaluate(node.value)
    if sets_mode(value):
        machine.open_modes = entered(machine.open_modes, value)


# ---------------------------------------------------------------------- assignment
def _assign(machine: Machine, node: ast.Assign) -> None:
    value = machine.evaluate(node.value)
    for target in node.targets:
        assign(machine, target, value, node.value)


def _annotated(machine: Machine, node: ast.AnnAssign) -> None:
    machine.evaluate(node.annotation)
    if promises_model(machine, node.annotation):
        machine.record.stated[node.target] = machine.module
    if node.value is not None:
        assign(machine, node.target, machine.evaluate(node.value), node.value)
    elif machine.cls is None and isinstance(node.target, ast.Name):
        machine.env.setdefault(node.target.id, NOTHING)


def _augmented(machine: Machine, node: ast.AugAssign) -> None:
    old = machine.evaluate(node.target)
    given = machine.evaluate(node.value)
    for atom in old if isinstance(node.op, ast.BitOr) else ():
        if isinstance(atom, Container) and atom.kind == "dict":
            merge_dict(machine, atom, given)
    assign(machine, node.target, join(old, machine.record.value(node.value)), node.value)


def _delete(machine: Machine, node: ast.Delete) -> None:
    for target in node.targets:
        machine.evaluate(target)
        if isinstance(target, ast.Subscript):
            _delete_item(machine, target)


def _delete_item(machine: Machine, target: ast.Subscript) -> None:
    key = constant(machine.record.value(target.slice))
    for atom in machine.record.value(target.value):
        if isinstance(atom, Container) and atom.kind == "dict":
            takes_out(machine, atom, key.value if key is not None else ANY)


def _outward(machine: Machine, node: ast.Global | ast.Nonlocal) -> None:
    machine.outward |= set(node.names)


# ---------------------------------------------------------------------- leaving
def _return(machine: Machine, node: ast.Return) -> None:
    value = machine.evaluate(node.value) if node.value is not None else NONE
    if machine.info is None or not machine.info.is_generator:
        machine.heap.write(value, "return", machine.task)
    settle_state(machine)
    machine.live = False


def _assert(machine: Machine, node: ast.Assert) -> None:
    look(machine, node)
    narrow(machine, node.test, True)


def _raise(machine: Machine, node: ast.Raise) -> None:
    look(machine, node)
    machine.live = False


def _leave_loop(machine: Machine, node: ast.Break | ast.Continue) -> None:
    machine.leaving[-1].append(dict(machine.env))
    machine.live = False


# ---------------------------------------------------------------------- definitions
def _function(machine: Machine, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    for expression in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
        if expression is not None:
            machine.evaluate(expression)
    _type_parameters(machine, node)
    annotations = [a.annotation for a in nodes_in(node.args) if isinstance(a, ast.arg)]
    for annotation in [*annotations, node.returns]:
        if annotation is not None:
            machine.evaluate(annotation)
    if promises_model(machine, node.returns):
        machine.record.returning.add(machine.module.site(node))
    made: Value = frozenset({Func(machine.module.site(node))})
    if node.decorator_list:
        below = decorated(machine, node.decorator_list, made)
        if machine.cls is None:
            made = below
        elif below != made:
            machine.heap.write(below, "decorated", machine.module.site(node))
    bind(machine, node.name, made)


def _type_parameters(machine: Machine, node: ast.stmt) -> None:
    """The bounds in `def f[T: Bound]`, which Python 3.12 brought."""
    for parameter in getattr(node, "type_params", ()):
        bound = getattr(parameter, "bound", None)
        if isinstance(bound, ast.expr):
            machine.evaluate(bound)


def _class(machine: Machine, node: ast.ClassDef) -> None:
    site = machine.module.site(node)
    _type_parameters(machine, node)
    for decorator in node.decorator_list:
        machine.evaluate(decorator)
    for base in node.bases:
        machine.solver.derive(site, machine.evaluate(base))
    for keyword in node.keywords:
        value = machine.evaluate(keyword.value)
        if keyword.arg == "metaclass":
            machine.heap.write(value, "meta", site)
    outer, machine.cls = machine.cls, site
    saved = dict(machine.env)
    machine.block(node.body)
    machine.env = saved
    machine.cls = outer
    made: Value = frozenset({Cls(site)})
    bind(
        machine, node.name, decorated(machine, node.decorator_list, made) if outer is None else made
    )


# ---------------------------------------------------------------------- imports
def _import(machine: Machine, node: ast.Import) -> None:
    for alias in node.names:
        top = alias.name.partition(".")[0]
        name = alias.name if alias.asname else top
        found = machine.project.resolve(machine.module, name)
        value: Value = frozenset({ModuleRef(found) if found else Symbol(canonical(name))})
        bind(machine, alias.asname or top, value)


def _import_from(machine: Machine, node: ast.ImportFrom) -> None:
    home = machine.project.resolve(machine.module, node.module or "", node.level)
    for alias in node.names:
        if alias.name != "*":
            value = _imported(machine, home, node, alias.name)
            machine.record.note(alias, value)
            bind(machine, alias.asname or alias.name, value)


def _imported(machine: Machine, home: str | None, node: ast.ImportFrom, name: str) -> Value:
    if home is not None:
        return global_name(machine, home, name)
    if node.level:
        return unknown(f"`{'.' * node.level}{node.module or ''}` is not among the files")
    return frozenset({Symbol(canonical(f"{node.module}.{name}"))})


STATEMENTS: Mapping[type[ast.stmt], Execute] = {
    ast.AnnAssign: _annotated,
    ast.Assert: _assert,
    ast.Assign: _assign,
    ast.AsyncFunctionDef: _function,
    ast.AugAssign: _augmented,
    ast.Break: _leave_loop,
    ast.ClassDef: _class,
    ast.Continue: _leave_loop,
    ast.Delete: _delete,
    ast.Expr: _expression,
    ast.FunctionDef: _function,
    ast.Global: _outward,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Nonlocal: _outward,
    ast.Raise: _raise,
    ast.Return: _return,
}
