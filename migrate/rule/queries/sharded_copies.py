"""Values that are sharded as the parameters are, because they were copied from parameters.

Copies that a program keeps of its weights, in a list or wherever, are DTensors after the migration,
and so is what is computed from them: they can be written into the parameters again.
"""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.library.tensors import owner_of
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Const,
    Container,
    Method,
    Result,
    Symbol,
    Tensor,
    Unknown,
    Value,
    Wrapped,
)
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.held_data import COMPUTING, SAME
from fsdp_migrate.rule.queries.parameters import called, calls
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of

# Methods that give the same numbers, maybe on another device.
_MOVING = frozenset({"contiguous", "cpu", "cuda"})
_OF_A_TENSOR = frozenset({"device", "dtype"})
_LIBRARIES = frozenset({"builtins", "collections", "copy", "itertools", "torch"})
# Computations whose other operand is a factor, a weight or a bound.
_BY_A_FACTOR = frozenset({"clamp", "clip", "div", "lerp", "mul", "pow"})
_TAKING = frozenset({"get", "pop", "popleft"})  # out of a list or dict
_DEPTH = 6


def is_sharded_copy(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is a tensor that is cut as the parameters are, on every path to it."""
    return _is_cut(facts, module, node) and not _is_filled_elsewhere(facts, facts.value(node))


def has_own_memory(node: ast.expr) -> bool:
    """Whether `node` is a tensor that nothing else can hold yet."""
    if isinstance(node, ast.BinOp | ast.UnaryOp):
        return True
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in COMPUTING
    )


def _is_cut(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether every tensor in the expression is a copy of a parameter, and no other shape is made.

    A copy is only what was asked of the model itself: what was copied before the wrap is whole.
    """
    if isinstance(node, ast.BinOp):
        sides = [node.left, node.right]
        cut = [side for side in sides if _is_cut(facts, module, side)]
        added = isinstance(node.op, ast.Add | ast.Sub)
        return bool(cut) and all(side in cut or _is_number(facts, side, added) for side in sides)
    if isinstance(node, ast.UnaryOp):
        return _is_cut(facts, module, node.operand)
    if isinstance(node, ast.Call):
        return _is_cut_by(facts, module, node)
    if isinstance(node, ast.Attribute) and node.attr == "data":
        return _is_cut(facts, module, node.value)
    if isinstance(node, ast.Subscript) and _of_one_tensor(facts, node.value):
        return False
    return _are_of_a_model(facts, node)


def _is_cut_by(facts: Facts, module: Module, call: ast.Call) -> bool:
    """Whether a method or function gives a tensor that is cut as what it is given."""
    if not isinstance(call.func, ast.Attribute):
        return False
    name, operands = call.func.attr, [call.func.value, *call.args]
    if called(facts, call) == {f"torch.{name}"}:
        operands = [*call.args]
    elif name in _TAKING and not _of_one_tensor(facts, call.func.value):
        return _are_of_a_model(facts, call)
    elif name in SAME | _MOVING or (name == "to" and _is_elsewhere(facts, call)):
        return _is_cut(facts, module, call.func.value)
    added = name not in _BY_A_FACTOR
    return (
        name in COMPUTING
        and bool(operands)
        and _is_cut(facts, module, operands[0])
        and all(_is_number(facts, a, added) or _is_cut(facts, module, a) for a in operands[1:])
    )


def _is_elsewhere(facts: Facts, call: ast.Call) -> bool:
    """Whether `.to(...)` names a device, or is as a parameter is: another dtype would be lost."""
    return bool(call.args) and all(
        (
            isinstance(given, ast.Attribute)
            and given.attr in _OF_A_TENSOR
            and _are_of_a_model(facts, given.value)
        )
        or _is_device(facts.value(given))
        for given in call.args
    )


def _is_device(value: Value) -> bool:
    return bool(value) and all(
        isinstance(atom, Const) or (isinstance(atom, Result) and atom.symbol == "torch.device")
        for atom in value
    )


def _are_of_a_model(facts: Facts, node: ast.expr) -> bool:
    value = facts.value(node) - NONE
    return bool(value) and all(_is_of_a_model(atom) for atom in value)


def _is_of_a_model(atom: Atom) -> bool:
    """Whether `atom` was asked of an FSDP1 model or a part of it, and is no number."""
    owner = owner_of(atom)
    while isinstance(owner, Method):
        owner = owner.receiver
    return isinstance(owner, Wrapped) and not (isinstance(atom, Tensor) and atom.scalar)


def _of_one_tensor(facts: Facts, node: ast.expr) -> bool:
    """Whether an item of `node` may be a row of a tensor, and not one of several tensors."""
    return any(isinstance(atom, Tensor) for atom in facts.value(node))


def _is_number(facts: Facts, node: ast.expr, added: bool) -> bool:
    """Whether an operand is a number; what is unknown is one where it is a factor or a bound.

    What is `added` to weights and isn't known is a tensor: nobody adds a number to them.
    """
    if isinstance(node, ast.BinOp):
        return all(_is_number(facts, side, added) for side in (node.left, node.right))
    if isinstance(node, ast.UnaryOp):
        return _is_number(facts, node.operand, added)
    if isinstance(node, ast.Constant):
        return True
    value = facts.value(node)
    known = bool(value) and not any(isinstance(atom, Unknown) for atom in value)
    is_tensor = any(owner_of(atom) for atom in value)
    return path_of(node) is not None and not is_tensor and (known or not added)


# ---------------------------------------------------------------------- who else fills it
def _is_filled_elsewhere(facts: Facts, value: Value) -> bool:
    """Whether code that can't be seen is given a list or dict in which `value` is kept."""
    return any(
        not _is_seen(facts.value(call.func)) and _holds(facts, facts.value(given), value, 0)
        for _, call in calls(facts)
        for given in (*call.args, *(keyword.value for keyword in call.keywords))
    )


def _holds(facts: Facts, value: Value, looked_for: Value, depth: int) -> bool:
    return any(
        bool(inner & looked_for) or (depth < _DEPTH and _holds(facts, inner, looked_for, depth + 1))
        for atom in value
        if isinstance(atom, Container)
        for inner in [facts.analysis.dict_values(atom)]
    )


def _is_seen(callee: Value) -> bool:
    """Whether the function is of the program, or of a library that puts nothing into lists."""
    return bool(callee) and all(_is_seen_one(atom) for atom in callee)


def _is_seen_one(atom: Atom) -> bool:
    if isinstance(atom, Method) and isinstance(atom.receiver, Symbol | Result | Unknown):
        atom = atom.receiver
    if isinstance(atom, Symbol | Result):
        name = atom.name if isinstance(atom, Symbol) else atom.symbol
        return name.partition(".")[0] in _LIBRARIES
    return not isinstance(atom, Unknown)
