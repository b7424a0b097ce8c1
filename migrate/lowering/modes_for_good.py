"""`FSDP.set_state_dict_type(model, ...)`: which models have the mode from the beginning.

A mode that is set for good counts for one model, wherever that goes.  It can be told at the calls
where it is set before anything can ask the model for its state: below the constructor call, or
below what makes the model.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.call_graph import called_function
from fsdp_migrate.analysis.values import Atom, Container, Instance, Result, Wrapped
from fsdp_migrate.lowering.state_dict_settings import given_to_mode
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
STATE = ("load_state_dict", "state_dict")
DEEP = 200  # functions that are looked into


def models_set_at_once(
    analysis: Analysis, module: Module, call: ast.Call
) -> tuple[frozenset[Site], bool]:
    """The models that `call` sets a mode for, by their constructor calls, and whether it does so
    before anything can ask them for their state."""
    node = (given_to_mode(call) or {}).get("module")
    found = analysis.wrapped(analysis.value(node))
    sites = frozenset(wrapped.site for wrapped in found if wrapped.site is not None)
    sites |= frozenset(_inside(analysis, sites))
    at_once = node is not None and all(wrapped.site is not None for wrapped in found)
    return sites, at_once and _is_at_once(analysis, module, call, node)


def _inside(analysis: Analysis, models: frozenset[Site]) -> Iterator[Site]:
    """The models inside of other ones, which a mode is set for as well."""
    seen: set[Atom] = set()
    todo = [a for site in models if site in analysis.wraps for a in analysis.wraps[site].inner]
    while todo:
        atom = todo.pop()
        if atom in seen:
            continue
        seen.add(atom)
        if isinstance(atom, Wrapped) and atom.site is not None:
            yield atom.site
            todo += analysis.wraps[atom.site].inner if atom.site in analysis.wraps else ()
        elif isinstance(atom, Instance | Result | Container):
            todo += analysis.parts(atom)


def _is_at_once(analysis: Analysis, module: Module, call: ast.Call, model: ast.expr | None) -> bool:
    statement = module.parents[call]
    path = path_of(model) if model is not None else None
    if not isinstance(statement, ast.Expr) or path is None:
        return False
    block = module.block(statement)
    above = block[: block.index(statement)]
    made = next((s for s in reversed(above) if _makes(s, path)), None)
    if made is None:
        return False
    between = above[above.index(made) :]
    return not any(
        _asks(analysis, inner, set()) for each in between for inner in _calls(nodes_in(each))
    )


def _makes(statement: ast.stmt, path: str) -> bool:
    """Whether the statement binds the model's name to what a call gives."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        return False
    targets = [
        part
        for target in statement.targets
        for part in (target.elts if isinstance(target, ast.Tuple) else [target])
    ]
    return any(path_of(target) == path for target in targets)


def _calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    return (node for node in nodes if isinstance(node, ast.Call))


def _asks(analysis: Analysis, call: ast.Call, seen: set[Site]) -> bool:
    """Whether running `call` may take or load the state of a model."""
    func = call.func
    if isinstance(func, ast.Attribute) and (func.attr in STATE or "optim_state" in func.attr):
        return bool(analysis.wrapped(analysis.value(func.value))) or "optim_state" in func.attr
    for atom in analysis.value(func):
        site = called_function(atom, analysis.method)
        if site is None or site in seen:
            continue
        seen.add(site)
        inside = analysis.functions[site].node if site in analysis.functions else None
        if len(seen) > DEEP:
            return True
        if inside is not None and any(
            _asks(analysis, inner, seen) for inner in _calls(nodes_in(inside))
        ):
            return True
    return False


def models_asked(analysis: Analysis, call: ast.Call) -> frozenset[Site] | None:
    """The models that a call takes or loads the state of, its receiver or what it is given, by
    their constructor calls; None if one isn't known."""
    nodes = [*call.args, *(keyword.value for keyword in call.keywords)]
    nodes += [call.func.value] if isinstance(call.func, ast.Attribute) else []
    found = {wrapped.site for node in nodes for wrapped in analysis.wrapped(analysis.value(node))}
    sites = frozenset(site for site in found if site is not None)
    return sites if len(sites) == len(found) else None
