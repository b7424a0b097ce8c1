"""The value of an expression, by the type of its node."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from fsdp_migrate.analysis.assignment import assign, settle_state
from fsdp_migrate.analysis.displays import DISPLAYS
from fsdp_migrate.analysis.evidence import proven
from fsdp_migrate.analysis.heap import ANY, Task
from fsdp_migrate.analysis.inherited import method_of
from fsdp_migrate.analysis.library.attributes import attribute, of_instance
from fsdp_migrate.analysis.library.containers import elements, item, merge_dict, store_item
from fsdp_migrate.analysis.library.contexts import MANAGERS, YIELDED, note_modes
from fsdp_migrate.analysis.library.tensors import (
    are_lists,
    born,
    computed_from,
    is_gradient,
    product,
)
from fsdp_migrate.analysis.machine import COMPUTED, Evaluate, Machine, Passed
from fsdp_migrate.analysis.narrowing import narrow
from fsdp_migrate.analysis.scopes import expose, refresh, variable, with_walruses
from fsdp_migrate.analysis.values import (
    NONE,
    NOTHING,
    Bound,
    Cls,
    Const,
    Container,
    Func,
    Instance,
    Partial,
    Result,
    Symbol,
    Value,
    Wrapped,
    constant,
    join,
    ordered,
    unknown,
)
from fsdp_migrate.syntax.nodes import children
from fsdp_migrate.syntax.paths import path_of

FALSE = Const.of(False)


def evaluate(machine: Machine, node: ast.expr) -> Value:
    """The value of `node`, noted for the rules."""
    value = EXPRESSIONS.get(type(node), _computed)(machine, node)
    if isinstance(node, ast.Attribute | ast.Call):
        value = born(machine, node, value)
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        value = proven(machine, node, value)
    machine.record.note(node, value)
    return value


def _computed(machine: Machine, node: ast.expr) -> Value:
    """An expression whose value nothing follows; what is in it is looked at all the same."""
    for child in children(node):
        if isinstance(child, ast.expr):
            machine.evaluate(child)
    return COMPUTED


# ---------------------------------------------------------------------- names and parts
def _constant(machine: Machine, node: ast.Constant) -> Value:
    return COMPUTED if node.value is ... else frozenset({Const.of(node.value)})


def _name(machine: Machine, node: ast.Name) -> Value:
    return variable(machine, node.id)


def _attribute(machine: Machine, node: ast.Attribute) -> Value:
    base = machine.evaluate(node.value)
    path = path_of(node)
    if path is not None and path in machine.env:
        return machine.env[path]
    there = base - NONE or base  # None has no attributes: where it is None, this goes no further
    method = method_of(machine.info, node.value)
    return join(
        *(
            of_instance(machine, atom, node.attr, method)
            if isinstance(atom, Instance)
            else attribute(machine, atom, node.attr)
            for atom in ordered(there)
        )
    )


def _subscript(machine: Machine, node: ast.Subscript) -> Value:
    base, index = machine.evaluate(node.value), constant(machine.evaluate(node.slice))
    key: object = index.value if index else ANY
    found: list[Value] = []
    for atom in ordered(base):
        if isinstance(atom, Symbol):
            found.append(frozenset({Result(atom.name, machine.module.site(node))}))
        elif is_gradient(atom):
            found.append(computed_from(machine, node.value))
        else:
            found.append(item(machine, atom, key))
    return join(*found)


def _inner(machine: Machine, node: ast.Starred | ast.Await) -> Value:
    return machine.evaluate(node.value)


# ---------------------------------------------------------------------- operators
def _choice(machine: Machine, node: ast.IfExp) -> Value:
    machine.evaluate(node.test)
    saved = dict(machine.env)
    narrow(machine, node.test, True)
    body = machine.evaluate(node.body)
    machine.env = dict(saved)
    narrow(machine, node.test, False)
    orelse = machine.evaluate(node.orelse)
    machine.env = with_walruses(machine, saved, node)
    return join(body, orelse)


def _and_or(machine: Machine, node: ast.BoolOp) -> Value:
    saved = dict(machine.env)
    values: list[Value] = []
    for index, part in enumerate(node.values):
        value = machine.evaluate(part)
        narrow(machine, part, isinstance(node.op, ast.And))
        last = index == len(node.values) - 1
        if isinstance(node.op, ast.Or) and not last:
            value = value - NONE - {FALSE}
        values.append(value)
    machine.env = with_walruses(machine, saved, node)
    return join(*values)


def _sum(machine: Machine, node: ast.BinOp) -> Value:
    """`a + b` and `a | b` of containers."""
    left, right = machine.evaluate(node.left), machine.evaluate(node.right)
    if isinstance(node.op, ast.Add) and are_lists(left) and are_lists(right):
        return join(left, right)
    kinds = {a.kind for a in left | right if isinstance(a, Container)}
    if not kinds or not isinstance(node.op, ast.BitOr | ast.Add):
        return product(machine, node)
    if kinds == {"dict"}:
        made = machine.container(node, "dict")
        merge_dict(machine, made, left, new=True)
        merge_dict(machine, made, right, new=True)
        return frozenset({made})
    made = machine.container(node, "list")
    store_item(machine, made, ANY, join(elements(machine, left), elements(machine, right)))
    return frozenset({made})


def _negative(machine: Machine, node: ast.UnaryOp) -> Value:
    machine.evaluate(node.operand)
    return COMPUTED if isinstance(node.op, ast.Not) else computed_from(machine, node.operand)


def _comparison(machine: Machine, node: ast.Compare) -> Value:
    """`a < b`, which is a tensor where one of them is."""
    parts = [node.left, *node.comparators]
    for part in parts:
        machine.evaluate(part)
    whole = any(isinstance(op, ast.In | ast.NotIn | ast.Is | ast.IsNot) for op in node.ops)
    return COMPUTED if whole else computed_from(machine, *parts)


def _walrus(machine: Machine, node: ast.NamedExpr) -> Value:
    value = machine.evaluate(node.value)
    assign(machine, node.target, value, node.value)
    return value


# ---------------------------------------------------------------------- functions
def _lambda(machine: Machine, node: ast.Lambda) -> Value:
    for default in [*node.args.defaults, *node.args.kw_defaults]:
        if default is not None:
            machine.evaluate(default)
    site = machine.module.site(node)
    task = Task(machine.module.name, site)
    for arg in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
        reason = unknown(f"parameter `{arg.arg}` of a lambda")
        machine.heap.write(reason, "unpassed", task, arg.arg)
    expose(machine, only_captured=True)
    machine.solver.enter(task, machine.open_modes)
    return frozenset({Func(site)})


def _yield(machine: Machine, node: ast.Yield) -> Value:
    given = machine.evaluate(node.value) if node.value is not None else NONE
    return _give(machine, node, given)


def _yield_from(machine: Machine, node: ast.YieldFrom) -> Value:
    return _give(machine, node, elements(machine, machine.evaluate(node.value)))


def _give(machine: Machine, node: ast.expr, given: Value) -> Value:
    """What a generator yields are the items of what calling it gives."""
    is_context = machine.info is not None and machine.info.decorators & MANAGERS
    made = machine.container(node, YIELDED if is_context else "list")
    store_item(machine, made, ANY, given)
    if is_context:
        note_modes(machine, made)
    machine.heap.write(frozenset({made}), "return", machine.task)
    return COMPUTED


def _call(machine: Machine, node: ast.Call) -> Value:
    callee = machine.evaluate(node.func)
    args: list[Value] = []
    kwargs: dict[str, Value] = {}
    maybe: set[str] = set()
    for arg in node.args:
        value = machine.evaluate(arg)
        if isinstance(arg, ast.Starred):
            args.extend(_spread(machine, value))
        else:
            args.append(value)
    for keyword in node.keywords:
        value = machine.evaluate(keyword.value)
        if keyword.arg is not None:
            kwargs[keyword.arg] = join(kwargs.get(keyword.arg, NOTHING), value)
        else:
            given = _expand(machine, value)
            kwargs.update(given)
            maybe |= {key for key in given if not _has_always(machine, value, key)}
    passed = Passed(args, kwargs, node, frozenset(maybe))
    machine.record.note_call(machine.module.site(node), node, (args, kwargs), machine.open_modes)
    if any(isinstance(a, Func | Bound | Cls | Instance | Wrapped | Partial) for a in callee):
        settle_state(machine)
    made = join(*(machine.call(atom, passed) for atom in ordered(callee)))
    refresh(machine)
    return made


def _spread(machine: Machine, value: Value) -> list[Value]:
    """The positional arguments that `*value` passes."""
    for atom in ordered(value):
        if isinstance(atom, Container) and atom.kind in ("list", "tuple"):
            every = machine.heap.item_keys(atom.site)
            keys = sorted(k for k in every if isinstance(k, int))
            if keys and (atom.kind == "tuple" or len(keys) == len(every)):
                return [item(machine, atom, key) for key in keys]
    return [elements(machine, value) or COMPUTED]


def _has_always(machine: Machine, value: Value, key: str) -> bool:
    """Whether every dict that `value` can be has `key`."""
    return all(
        isinstance(atom, Container) and machine.heap.has_always(atom.site, key) for atom in value
    )


def _expand(machine: Machine, value: Value) -> dict[str, Value]:
    """The keyword arguments that `**value` passes; `ANY` where some aren't known."""
    found: dict[str, Value] = {}
    for atom in ordered(value):
        if isinstance(atom, Container) and atom.kind == "dict":
            for key in machine.heap.item_keys(atom.site):
                given = machine.heap.read("item", atom.site, key)
                found[str(key)] = join(found.get(str(key), NOTHING), given)
        else:
            found[ANY] = unknown("`**` of a dict that isn't known")
    return found


EXPRESSIONS: Mapping[type[ast.expr], Evaluate] = {
    **DISPLAYS,
    ast.Attribute: _attribute,
    ast.Await: _inner,
    ast.BinOp: _sum,
    ast.BoolOp: _and_or,
    ast.Call: _call,
    ast.Compare: _comparison,
    ast.Constant: _constant,
    ast.IfExp: _choice,
    ast.Lambda: _lambda,
    ast.Name: _name,
    ast.NamedExpr: _walrus,
    ast.Starred: _inner,
    ast.Subscript: _subscript,
    ast.UnaryOp: _negative,
    ast.Yield: _yield,
    ast.YieldFrom: _yield_from,
}
