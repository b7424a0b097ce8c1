"""Which functions have to do with the parameters of modules."""

from __future__ import annotations

import ast
from functools import lru_cache

from fsdp_migrate.analysis.library.fsdp1 import FSDP_METHODS
from fsdp_migrate.analysis.values import (
    Bound,
    Func,
    Instance,
    Method,
    Partial,
    Result,
    Symbol,
    Unknown,
    Wrapped,
)
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

# What functions that initialise a module name of it, and of `torch.nn.init`.
TOUCHING = frozenset(
    {
        "bias", "data", "fill_", "init", "kaiming_normal_", "kaiming_uniform_", "named_parameters",
        "normal_", "orthogonal_", "parameters", "reset_parameters", "trunc_normal_", "uniform_",
        "weight", "xavier_normal_", "xavier_uniform_", "zero_", "_init_weights", "init_weights",
    }
)  # fmt: skip

# Methods by which PyTorch's layers, and the users', write their first values.
INITIALISING = frozenset({"init_weights", "reset_parameters"})


def may_use_parameters(facts: Facts, function: ast.expr) -> bool:
    """Whether a function that is applied to modules may look at their parameters."""
    value = facts.value(function)
    for atom in value:
        if isinstance(atom, Symbol):
            if atom.name.startswith(("torch.nn.init.", "builtins.")):
                return True
        elif isinstance(atom, Func | Bound):
            site = atom.func.site if isinstance(atom, Bound) else atom.site
            if facts.effects.mentions(facts.analysis.functions[site].node, TOUCHING):
                return True
        elif isinstance(atom, Method | Partial | Result | Unknown):
            return True
    return not value


def gathers(facts: Facts, func: ast.Attribute) -> bool:
    """Whether a method gathers parameters: one that is called on a model from outside.

    Those that only call one another get what the model's forward pass has gathered.
    """
    return func.attr in _called_on_models(facts) and runs_beside_forward(facts, func)


@lru_cache(maxsize=1)
def _called_on_models(facts: Facts) -> frozenset[str]:
    """The names of the methods that are called on FSDP models."""
    return frozenset(
        call.func.attr
        for call in facts.analysis.call_nodes.values()
        if isinstance(call.func, ast.Attribute)
        and any(isinstance(atom, Wrapped) for atom in facts.value(call.func.value))
    )


def runs_beside_forward(facts: Facts, func: ast.Attribute) -> bool:
    """Whether `model.method` may be one of the user's that runs parts of the model by itself."""
    if func.attr in {*FSDP_METHODS, *INITIALISING} or func.attr.startswith("__"):
        return False
    methods = {
        atom.func.site
        for atom in facts.value(func)
        if isinstance(atom, Bound) and isinstance(atom.receiver, Instance)
    }
    return any(_runs_model(facts, method) for method in methods)


def _runs_model(facts: Facts, method: Site) -> bool:
    """Whether a method calls submodules or reads parameters of its own object."""
    info = facts.analysis.functions[method]
    names = [*info.node.args.posonlyargs, *info.node.args.args]
    if not names or isinstance(info.node, ast.Lambda) or "staticmethod" in info.decorators:
        return False
    return any(
        isinstance(node, ast.Attribute)
        and path_of(node.value) == names[0].arg
        and _is_used_part(facts, info.module, node)
        for node in nodes_in(info.node)
    )


def _is_used_part(facts: Facts, module: Module, node: ast.Attribute) -> bool:
    """Whether `self.part` is a module that is called, or a parameter."""
    parent = module.parents[node]
    called = isinstance(parent, ast.Call) and parent.func is node
    for atom in facts.value(node):
        if isinstance(atom, Result):
            if atom.symbol == "torch.nn.Parameter" or (
                called and atom.symbol.startswith("torch.nn.")
            ):
                return True
        elif called and (isinstance(atom, Wrapped) or facts.analysis.is_module(atom)):
            return True
    return False
