"""Assignments to `p.data`: what is assigned, and who else holds the tensor that was there."""

from __future__ import annotations

import ast
from collections.abc import Collection

from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.analysis.library.modules import SUBMODULES
from fsdp_migrate.analysis.values import NONE, Params, Result, Symbol, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import model_of, owners
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

SAME = frozenset({"data", "detach"})  # what gives the parameter's own storage
COMPUTING = frozenset(
    {
        "abs", "add", "clamp", "clip", "clone", "div", "exp", "full_like", "lerp", "maximum",
        "minimum", "mul", "nan_to_num", "neg", "ones_like", "pow", "rand_like", "randn_like",
        "round", "sigmoid", "sign", "sqrt", "sub", "tanh", "where", "zeros_like",
    }
)  # fmt: skip
# Methods that write what they are given into their own tensor, and keep nothing of it.
WRITING = frozenset(
    {
        "add_", "addcdiv_", "addcmul_", "clamp_", "copy_", "div_", "index_copy_", "lerp_",
        "logical_and_", "logical_or_", "masked_fill_", "masked_scatter_", "maximum_", "minimum_",
        "mul_", "pow_", "scatter_", "scatter_add_", "sub_", "where_",
    }
)  # fmt: skip
LIBRARIES = frozenset({"builtins", "torch"})


def sharded_owners(facts: Facts, module: Module, node: ast.expr) -> frozenset[Wrapped]:
    """The FSDP models that `node` is a sharded tensor of, or a parameter by its path."""
    return (
        facts.sharded.models(module, node)
        or owners(facts, node)
        or model_of(facts, node)
        or of_submodule(facts, module, node)
        or facts.parts.carried(module, node)
    )


def of_submodule(facts: Facts, module: Module, node: ast.expr) -> frozenset[Wrapped]:
    """The FSDP models that `part.weight` may be of, `part` being one of their `modules()`."""
    if isinstance(node, ast.Name):
        found = definition(module, node)
        return of_submodule(facts, module, found.value) if found is not None else frozenset()
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return frozenset()
    part = node.value.id
    return frozenset(
        atom
        for loop in nodes_in(module.scope(node))
        if isinstance(loop, ast.For | ast.comprehension)
        and any(isinstance(n, ast.Name) and n.id == part for n in nodes_in(loop.target))
        for call in nodes_in(loop.iter)
        if isinstance(call, ast.Attribute) and call.attr in SUBMODULES
        for atom in facts.value(call.value)
        if isinstance(atom, Wrapped)
    )


def is_gradient(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is gradients, or what is computed from sharded tensors, and no parameter."""
    if isinstance(node, ast.Attribute) and node.attr in {"grad", "main_grad"}:
        return True
    is_parameter = any(isinstance(atom, Params) for atom in facts.value(node))
    return bool(facts.sharded.models(module, node)) and not is_parameter


def is_parameter(facts: Facts, node: ast.expr) -> bool:
    """Whether `node` can be a new `torch.nn.Parameter`."""
    return any(
        isinstance(atom, Result) and atom.symbol == "torch.nn.Parameter"
        for atom in facts.value(node)
    )


def is_computed_from(value: ast.expr, parameter: ast.expr) -> bool:
    """Whether `value` is computed from the parameter, into a tensor of its own."""
    own = path_of(parameter)
    if own is None or not any(path_of(node) == own for node in nodes_in(value)):
        return False
    if isinstance(value, ast.BinOp | ast.UnaryOp):
        return True
    if not isinstance(value, ast.Call):
        return False
    name = value.func.attr if isinstance(value.func, ast.Attribute) else path_of(value.func)
    return name in COMPUTING


def keeps_data(facts: Facts, module: Module, but: Collection[ast.AST] = ()) -> bool:
    """Whether something in `module` keeps the storage of a parameter: `old = p.data`.

    What is inside of the values in `but` is copied.
    """
    copied = {inner for value in but for inner in nodes_in(value)}
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in SAME
        and isinstance(node.ctx, ast.Load)
        and bool(owners(facts, node.value))
        and node not in copied
        and _is_kept(facts, module, node)
        for node in module.parents
    )


def _is_kept(facts: Facts, module: Module, node: ast.Attribute) -> bool:
    """Whether the tensor that `node` gives goes anywhere but into a computation."""
    value: ast.AST = node
    parent = module.parents[node]
    if node.attr == "detach" and isinstance(parent, ast.Call):
        value, parent = parent, module.parents[parent]
    if isinstance(parent, ast.Attribute | ast.BinOp | ast.UnaryOp | ast.Compare | ast.AugAssign):
        return False
    if isinstance(parent, ast.Call) and parent.func is not value:
        return not _computes(facts, parent)
    return True


def _computes(facts: Facts, call: ast.Call) -> bool:
    """Whether `call` computes with its arguments, or copies them, and keeps none."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in COMPUTING | WRITING:
        return True
    value = facts.value(call.func) - NONE
    return bool(value) and all(
        isinstance(atom, Symbol) and atom.name.partition(".")[0] in LIBRARIES for atom in value
    )
