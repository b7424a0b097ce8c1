"""What may be an FSDP1 model: what came out of something that the analysis doesn't follow.

A method that only FSDP1 models have counts on such an object, unless something shows that it
can't be a model: the arguments are another method's, or it is asked for what no model has.
"""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import (
    Atom,
    Method,
    Params,
    Result,
    Unknown,
    Value,
    Wrapped,
    symbols,
)
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

# Methods that FSDP1 models have and few other things do: worth a look on any unknown object.
TELLING = frozenset(
    {"_fsdp_wrapped_module", "_handle", "_handles", "check_is_root", "clip_grad_norm_", "no_sync"}
) | {"summon_full_params"}
# Of these other things have their own: they count where a model may have come from.
SHARED = frozenset({"module"})
# What objects are asked for that train models, and what optimizers are.
OF_NO_MODEL = frozenset(
    {
        "accumulate", "add_param_group", "autocast", "backward", "gather_for_metrics",
        "is_main_process", "param_groups", "prepare", "setup_module", "step", "sync_gradients",
        "unwrap_model", "wait_for_everyone",
    }
)  # fmt: skip
TRAINERS = frozenset({"Accelerator", "Fabric", "Trainer"})
CLIPPING = frozenset({"max_norm", "norm_type"})


def possible_models(analysis: Analysis, value: Value) -> frozenset[Wrapped]:
    """The models that `value` may be because they went into what it came out of."""
    sites = {site for atom in value for site in _behind(analysis, atom)}
    return frozenset(Wrapped(site) for site in sites)


def handed_models(analysis: Analysis, value: Value) -> frozenset[Wrapped]:
    """The models that `value` may be because something that isn't followed hands them on.

    What a class of a library makes is an object of that class, and no model; what a function
    gives that was given none is none, whatever it is given later.
    """
    handed = (
        a
        for a in value
        if not isinstance(a, Result)
        or (not short(a.symbol)[:1].isupper() and _was_given_model(analysis, a))
    )
    return possible_models(analysis, frozenset(handed))


def _behind(analysis: Analysis, atom: Atom) -> tuple[Site, ...]:
    if isinstance(atom, Method):
        return _behind(analysis, atom.receiver) if isinstance(atom.receiver, Result) else ()
    if isinstance(atom, Unknown):
        return atom.models
    if isinstance(atom, Result):
        kept = analysis.heap.read("kept", atom.site)
        return tuple(site for each in kept if isinstance(each, Unknown) for site in each.models)
    return ()


def may_be_model(
    analysis: Analysis, module: Module, node: ast.Attribute, call: ast.Call | None
) -> bool:
    """Whether the method `node` may be asked of an FSDP1 model, though nothing proves it."""
    value = analysis.value(node.value)
    if not any(_is_open(analysis, atom) for atom in value):
        return False
    if not _fits(analysis, node.attr, call) or _is_no_model(analysis, module, node.value):
        return False
    return node.attr in TELLING or bool(handed_models(analysis, value))


def _is_open(analysis: Analysis, atom: Atom) -> bool:
    """Whether `atom` can be anything: a class that is called gives an object of that class."""
    if isinstance(atom, Result):
        is_class = short(atom.symbol)[:1].isupper()
        return not is_class or _was_given_model(analysis, atom)
    return isinstance(atom, Unknown | Method)


def _was_given_model(analysis: Analysis, made: Result) -> bool:
    """Whether an object was made around a model, and may ask it for what it lacks itself."""
    args, kwargs = analysis.calls.get(made.site, ([], {}))
    given = frozenset().union(*args, *kwargs.values())
    return bool(analysis.wrapped(given) or possible_models(analysis, given))


def _fits(analysis: Analysis, method: str, call: ast.Call | None) -> bool:
    """Whether a call passes what FSDP1's method takes."""
    if call is None or method not in {"clip_grad_norm_", "no_sync"}:
        return True
    if method == "no_sync":
        return not call.args and not call.keywords
    named = {keyword.arg for keyword in call.keywords} - {None}
    return (
        named <= CLIPPING
        and len(call.args) + len(named) <= len(CLIPPING)
        and not any(_are_parameters(analysis, argument) for argument in call.args[:1])
    )


def _are_parameters(analysis: Analysis, node: ast.expr) -> bool:
    """Whether `node` is (or is spelled like) the parameters of a model, which nn.utils takes."""
    if any(isinstance(atom, Params) for atom in analysis.value(node)):
        return True
    asked = node.func if isinstance(node, ast.Call) else None
    return isinstance(asked, ast.Attribute) and asked.attr in {"parameters", "named_parameters"}


def _is_no_model(analysis: Analysis, module: Module, receiver: ast.expr) -> bool:
    """Whether the program shows elsewhere that the object is one that trains models."""
    if _is_trainer(analysis, module, receiver):
        return True
    path = path_of(receiver)
    if path is None:
        return False
    scope = module.scope(receiver) if "." not in path else _class_around(module, receiver)
    return any(
        isinstance(node, ast.Attribute) and node.attr in OF_NO_MODEL and path_of(node.value) == path
        for node in nodes_in(scope)
    )


def _class_around(module: Module, node: ast.AST) -> ast.AST:
    found = (a for a in module.ancestors(node) if isinstance(a, ast.ClassDef))
    return next(found, module.tree)


def _is_trainer(analysis: Analysis, module: Module, receiver: ast.expr) -> bool:
    """Whether the object is made, or annotated, as a trainer of a library's."""
    value = analysis.value(receiver)
    if any(isinstance(a, Result) and short(a.symbol) in TRAINERS for a in value):
        return True
    if not isinstance(receiver, ast.Name):
        return False
    function = module.function(receiver)
    return function is not None and any(
        short(name) in TRAINERS
        for argument in nodes_in(function.args)
        if isinstance(argument, ast.arg) and argument.arg == receiver.id and argument.annotation
        for name in symbols(analysis.value(argument.annotation))
    )
