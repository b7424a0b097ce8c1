"""Optimizers that a function is given together with the model that it wraps.

Who calls the function may not be in the program, or builds the optimizer in a way that isn't
followed.  It was built before the wrap all the same, for there was no other model then; what
tells an optimizer is what the program asks of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.library_results import LibraryResults, Role
from fsdp_migrate.analysis.values import NONE, Unknown
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.findings.code import Kept, Part, block, code
from fsdp_migrate.lowering.before_wrap import TakenBeforeWrap
from fsdp_migrate.lowering.optimizer_switch import (
    Switch,
    called_here,
    is_only_way,
    new_groups,
    switch_at,
)
from fsdp_migrate.lowering.parameter_attributes import kept_nothing
from fsdp_migrate.lowering.running_order import only_wraps
from fsdp_migrate.lowering.steps import Step, other_names, steps_outwards
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import binds, path_of

ASKED = frozenset({"zero_grad", "param_groups", "add_param_group"})  # beside `step`
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def handed_over(
    results: LibraryResults, fact: WrapFact
) -> Iterator[tuple[TakenBeforeWrap, Switch]]:
    """The optimizers that come with the model of `fact`, and what hands them the new parameters."""
    argument = fact.arguments.get("module")
    model = path_of(argument.node) if argument is not None and argument.node is not None else None
    if model is None or kept_nothing(fact):
        return
    calls = results.analysis.call_graph
    for step in steps_outwards(calls, fact.module, fact.node, frozenset({model})):
        function = step.scope
        if not isinstance(function, ast.FunctionDef):
            continue
        names = {argument.arg for argument in _arguments(function)}
        known = step.paths | {n for path in step.paths for n in other_names(path, step)}
        if not known & names:
            continue
        for name in sorted(names - known):
            if _is_optimizer(results, step, function, name):
                for switch in _switches(results, step, name):
                    taken = TakenBeforeWrap(
                        fact, step, step, switch.statement, switch.statement, model, None,
                        is_handed=True,
                    )  # fmt: skip
                    yield taken, switch


def _arguments(function: ast.FunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _is_optimizer(
    results: LibraryResults, step: Step, function: ast.FunctionDef, name: str
) -> bool:
    """Whether a parameter of a function, which may be anything, is used as an optimizer."""
    nodes = [n for n in own_nodes(function) if isinstance(n, ast.Name) and n.id == name]
    if any(not isinstance(n.ctx, ast.Load) for n in nodes):
        return False
    value = frozenset().union(*(results.analysis.value(n) for n in nodes)) - NONE
    unsure = not value or any(isinstance(atom, Unknown) for atom in value)
    others = [atom for atom in value if not isinstance(atom, Unknown)]
    if not unsure or not all(results.role(atom) is Role.OPTIMIZER for atom in others):
        return False
    asked = set(_asked(function, name))
    around = step.module.parents[function]
    for path in _attributes(step, name):
        if isinstance(around, ast.ClassDef):
            asked |= set(_asked(around, path))
    return "step" in asked and bool(asked & ASKED)


def _asked(place: ast.AST, path: str) -> Iterator[str]:
    """The attributes that are read of what is at `path`."""
    for node in nodes_in(place):
        if isinstance(node, ast.Attribute) and path_of(node.value) == path:
            yield node.attr


def _attributes(step: Step, name: str) -> Iterator[str]:
    """The attributes of the object that are this parameter of the method, and nothing else."""
    around = step.module.parents[step.scope]
    for path in other_names(name, step):
        stores = [n for n in nodes_in(around) if isinstance(n, ast.stmt) and path in binds(n)]
        inner = [n for n in stores if isinstance(n, ast.Assign)]
        if "." in path and len(inner) == 1:
            yield path


def _switches(results: LibraryResults, step: Step, name: str) -> Iterator[Switch]:
    """What hands the new parameters over, at the first place on the way where that can be said."""
    default = _default(step.scope, name)
    for inner in step.inwards():
        analysis = results.analysis
        if not is_only_way(analysis, inner, step) or not only_wraps(analysis, inner, [name]):
            continue
        paths = [name] if inner is step else list(_attributes(step, name))
        for path in called_here(inner, step, paths):
            said = _said(inner.module, path)
            if said is None or not inner.paths:
                continue
            lines = new_groups(said)
            if isinstance(default, ast.Constant) and default.value is None:
                lines = code("if {o} is not None:\n    {lines}", o=said, lines=block(lines))
            for model in sorted(inner.paths):
                switch = switch_at(inner, model, (lines,), {path})
                if switch is not None:
                    yield switch
                    return


def _default(scope: ast.AST, name: str) -> ast.expr | None:
    """What a parameter is by default."""
    if not isinstance(scope, FUNCTIONS):
        return None
    args = scope.args
    named = [*args.posonlyargs, *args.args]
    with_default = named[len(named) - len(args.defaults) :]
    pairs = [*zip(with_default, args.defaults, strict=True)]
    found = next((value for argument, value in pairs if argument.arg == name), None)
    for argument, value in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        if argument.arg == name:
            found = value
    return found


def _said(module: Module, path: str) -> Part | None:
    nodes = (n for n in nodes_in(module.tree) if isinstance(n, ast.expr) and path_of(n) == path)
    found = next(nodes, None)
    return Kept(module.span(found)) if found is not None else None
