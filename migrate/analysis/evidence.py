"""Proofs, applied: an expression that FSDP1's functions are given is an FSDP1 model."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.inherited import family, method_of
from fsdp_migrate.analysis.library.modules import OTHER_WRAPPERS, is_torch_module
from fsdp_migrate.analysis.machine import Machine
from fsdp_migrate.analysis.proofs import Owner, name_of, root_of
from fsdp_migrate.analysis.values import (
    MODEL,
    Atom,
    Instance,
    Method,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1

PERHAPS: Value = frozenset({Unknown("it is a model elsewhere")})


def proven(machine: Machine, node: ast.Name | ast.Attribute | ast.Subscript, value: Value) -> Value:
    """`value`, which `node` was found to be, and what is proven of it besides."""
    if not machine.solver.proofs.known or _is_being_wrapped(machine, node):
        return value
    verdict = _verdict(machine, node)
    if verdict is False:
        return value
    opaque = frozenset(filter(is_opaque, value))
    if verdict is None:
        return (value or PERHAPS) | MODEL if opaque or not value else value
    rest = value - opaque
    if any(isinstance(atom, Wrapped) for atom in rest):
        return rest
    holds = any(map(is_plain_module, rest)) or any(map(machine.classes.is_module, rest))
    return rest | _models(opaque) if opaque or holds or not value else value


def _is_being_wrapped(machine: Machine, node: ast.expr) -> bool:
    """Whether a constructor of FSDP1 is given `node`: what is wrapped is no model yet."""
    call = machine.module.parents.get(node)
    if isinstance(call, ast.keyword):
        call = machine.module.parents.get(call)
    return (
        isinstance(call, ast.Call)
        and call.func is not node
        and Symbol(FSDP1) in machine.record.value(call.func)
    )


def _models(opaque: Value) -> Value:
    """The models that came this way, or one that is made nobody knows where."""
    sites = {site for atom in opaque if isinstance(atom, Unknown) for site in atom.models}
    return frozenset(map(Wrapped, sites)) or MODEL


def is_opaque(atom: Atom) -> bool:
    """Whether an object is nothing that is known, and can be a model then."""
    if isinstance(atom, Result):
        return not atom.symbol.startswith("torch.")
    return isinstance(atom, Unknown | Method)


def is_plain_module(atom: Atom) -> bool:
    """Whether an object is a module of torch's, and no wrapper."""
    return (
        isinstance(atom, Result)
        and is_torch_module(atom.symbol)
        and atom.symbol not in OTHER_WRAPPERS
    )


def _verdict(machine: Machine, node: ast.Name | ast.Attribute | ast.Subscript) -> bool | None:
    """Whether `node` is proven to be a model; None if it may be one."""
    proofs, module = machine.solver.proofs, machine.module.name
    if isinstance(node, ast.Attribute):
        method = method_of(machine.info, node.value)
        objects = [a for a in machine.record.value(node.value) if isinstance(a, Instance)]
        for atom in objects:
            for site in family(machine.classes, atom.cls, method):
                found = proofs.of(site, node.attr, module, node)
                if found is not False:
                    return found
    root = root_of(node)
    owner = _owner(machine, root.id) if root is not None else None
    if owner is None or not proofs.has(owner):
        return False
    return proofs.of(owner, name_of(node), module, node)


def _owner(machine: Machine, name: str) -> Owner | None:
    """The scope that a variable of the code that is being run lives in."""
    info = machine.info
    if info is None or machine.task.site is None:
        return machine.module.name
    if name in info.locals:
        return machine.task.site
    for outer in info.outer:
        if name in machine.program.functions[outer].locals:
            return outer
    return machine.module.name
