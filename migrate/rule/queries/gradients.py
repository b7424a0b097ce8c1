"""Where gradients are turned off: by a context, by a decorator."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Result, Symbol, constants
from fsdp_migrate.rule.facts import Facts

OFF = frozenset({"torch.inference_mode", "torch.no_grad"})
ON = frozenset({"torch.enable_grad"})
SWITCHES = frozenset({"torch.inference_mode", "torch.set_grad_enabled"})
PREFIXES = ("torch.autograd.grad_mode.", "torch.autograd.")


def grad_mode(facts: Facts, context: ast.expr, grad: bool) -> bool:
    """Whether gradients are on inside of `context`, a context or a decorator."""
    for atom in facts.value(context):
        name = atom.symbol if isinstance(atom, Result) else ""
        if isinstance(atom, Symbol):
            name = atom.name
        name = _plain(name)
        given = _flag(facts, atom) if isinstance(atom, Result) and name in SWITCHES else None
        if name == "torch.inference_mode":
            return grad if given is False else False
        if name in SWITCHES:
            return given if given is not None else grad
        if name in OFF or name in ON:
            return name in ON
    return grad


def turns_gradients_off(facts: Facts, function: ast.AST) -> bool:
    """Whether a decorator of `function` turns gradients off inside of it."""
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return any(not grad_mode(facts, item, True) for item in function.decorator_list)


def _plain(name: str) -> str:
    """The name of a grad mode as it is exported."""
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return f"torch.{name.removeprefix(prefix)}"
    return name


def _flag(facts: Facts, made: Result) -> bool | None:
    """The literal that a grad mode is switched by; None if only the run knows."""
    args, kwargs = facts.analysis.calls.get(made.site, ([], {}))
    given = [*args, *kwargs.values()]
    known = constants(given[0]) if given else [True]
    return bool(known[0]) if known is not None and len(known) == 1 else None
