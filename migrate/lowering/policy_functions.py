"""Functions of the user's that are wrap policies by handing on what they get to one of FSDP1's."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Func
from fsdp_migrate.lowering.policy_answers import PASSED
from fsdp_migrate.lowering.predicates import is_docstring
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in


@dataclass(frozen=True)
class HandedOn:
    """The call of another policy that is all a policy does, and what that one is given besides.

    `function` is where the policy is defined, None for a lambda.
    """

    policy: ast.expr
    name: str | None
    given: ast.expr
    function: ast.FunctionDef | None


def handed_on(
    analysis: Analysis,
    module: Module,
    node: ast.expr,
    more: Mapping[str, ast.expr] | None = None,
) -> HandedOn | None:
    """What the policy written at `node` hands its arguments on to, or None if it does more.

    `more` are arguments by name that it is given besides.
    """
    function = function_of(analysis, module, node)
    if function is None:
        return None
    made = _returned(function)
    if not isinstance(made, ast.Call):
        return None
    rest = _rest(made, function.args)
    if rest is None:
        return None
    name, given = rest
    known = {**defaults_of(function.args), **(more or {})}
    if isinstance(given, ast.Name) and given.id in known:
        given = known[given.id]
    elif isinstance(given, ast.Name) and given.id in _names(function.args):
        return None
    where = function if isinstance(function, ast.FunctionDef) else None
    return HandedOn(made.func, name, given, where)


def function_of(
    analysis: Analysis, module: Module, node: ast.expr
) -> ast.FunctionDef | ast.Lambda | None:
    """The one function of the file, without decorators, that `node` stands for."""
    if isinstance(node, ast.Lambda):
        return node
    value = analysis.value(node)
    (atom,) = value if len(value) == 1 else (None,)
    info = analysis.functions.get(atom.site) if isinstance(atom, Func) else None
    if info is None or info.module is not module or not isinstance(node, ast.Name):
        return None
    found = info.node
    if isinstance(found, ast.Lambda):
        return found
    return found if isinstance(found, ast.FunctionDef) and not found.decorator_list else None


def _returned(function: ast.FunctionDef | ast.Lambda) -> ast.expr | None:
    """What a function returns that does nothing else but give names to values."""
    if isinstance(function, ast.Lambda):
        return function.body
    *before, last = [s for s in function.body if not is_docstring(s)] or [ast.Pass()]
    if not isinstance(last, ast.Return) or not all(isinstance(s, ast.Assign) for s in before):
        return None
    return last.value


def built_by(
    analysis: Analysis, module: Module, call: ast.Call
) -> tuple[ast.FunctionDef, ast.expr] | None:
    """The small function of the file that `call` calls without arguments, and what it returns."""
    value = analysis.value(call.func)
    (atom,) = value if len(value) == 1 else (None,)
    info = analysis.functions.get(atom.site) if isinstance(atom, Func) else None
    if info is None or info.module is not module or call.args or call.keywords:
        return None
    made = _only_returns(info.node)
    if made is None or not isinstance(info.node, ast.FunctionDef):
        return None
    return info.node, made


def _only_returns(function: ast.AST) -> ast.expr | None:
    """What a function without decorators returns, that does nothing else but assign."""
    if not isinstance(function, ast.FunctionDef) or function.decorator_list:
        return None
    *before, last = [s for s in function.body if not is_docstring(s)] or [function]
    if not isinstance(last, ast.Return) or not all(isinstance(s, ast.Assign) for s in before):
        return None
    parameters = {a.arg for a in nodes_in(function.args) if isinstance(a, ast.arg)}
    names = {n.id for s in (*before, last) for n in nodes_in(s) if isinstance(n, ast.Name)}
    return last.value if names.isdisjoint(parameters) else None


def _names(args: ast.arguments) -> set[str]:
    return {a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs)}


def defaults_of(args: ast.arguments) -> dict[str, ast.expr]:
    """The parameters that have a default, which FSDP1 leaves alone."""
    by_position = [*args.posonlyargs, *args.args]
    pairs = [*zip(by_position[len(by_position) - len(args.defaults) :], args.defaults, strict=True)]
    named = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    every = [*pairs, *((a, default) for a, default in named if default is not None)]
    return {a.arg: default for a, default in every if a.arg not in PASSED}


def _rest(made: ast.Call, args: ast.arguments) -> tuple[str | None, ast.expr] | None:
    """The one argument of a call besides what the function was given, all of which is handed on."""
    names, own = _names(args), args.kwarg.arg if args.kwarg is not None else None
    positions: list[ast.expr] = []
    for node in made.args:
        if isinstance(node, ast.Starred):
            if args.vararg is None or not _is_name(node.value, args.vararg.arg):
                return None
        else:
            positions.append(node)
    given: dict[str, ast.expr] = {k.arg: k.value for k in made.keywords if k.arg is not None}
    spread = [k.value for k in made.keywords if k.arg is None]
    if any(own is None or not _is_name(node, own) for node in spread):
        return None
    for name, node in zip((*PASSED, None), positions, strict=False):
        given[name or ""] = node
    if len(positions) > len(PASSED) + 1:
        return None
    for name in PASSED:
        handed = given.pop(name, None)
        if handed is not None and not (name in names and _is_name(handed, name)):
            return None
        if handed is None and (name in names or not spread):
            return None
    if len(given) != 1:
        return None
    ((last, node),) = given.items()
    return last or None, node


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
