"""Forward passes inside of `summon_full_params`: whether they do as well without it."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Bound, Func, Result, symbols
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.gradients import grad_mode, turns_gradients_off
from fsdp_migrate.rule.queries.summoned_methods import runs_whole_parts, uses_parts
from fsdp_migrate.rule.queries.uniform import is_uniform
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

CONDITIONS = (ast.If, ast.IfExp, ast.BoolOp, ast.While, ast.Try, ast.Match, ast.comprehension)
TAKES_ALL = frozenset(f"builtins.{n}" for n in ("dict", "list", "max", "min", "sum", "tuple"))
CONTAINERS = frozenset({"torch.nn.ModuleList", "torch.nn.Sequential"})
ENDS = (ast.Return, ast.Break, ast.Continue)


class Unclear(Exception):
    """Something in a body isn't understood; the text says what."""


def check_run(facts: Facts, module: Module, statement: ast.With, run: ast.Call) -> None:
    """Look at a call of a model, or of a method of one, in the body of `statement`.

    Raises:
        Unclear: it may be another one without the context.
    """
    if not _without_gradients(facts, module, run):
        raise Unclear("a forward pass inside may record gradients")
    for around in module.ancestors(run):
        if around is statement:
            return
        loops = isinstance(around, ast.For) and not _is_even_loop(facts, module, around)
        if loops or isinstance(around, CONDITIONS):
            raise Unclear("ranks may run the model different numbers of times")


def is_beside_forward(facts: Facts, func: ast.Attribute, *, units: bool) -> bool:
    """Whether a method runs parts of the model by itself, not through its forward pass.

    Raises:
        Unclear: it may do more than that; with `units`, all of their parameters are whole.
    """
    methods = [atom.func for atom in facts.value(func) if isinstance(atom, Bound)]
    beside = any(uses_parts(facts, method.site) for method in methods)
    fits = not beside or not units or all(runs_whole_parts(facts, m.site) for m in methods)
    if not methods or not fits:
        raise Unclear(f"`{func.attr}` may use parameters without a forward pass")
    if not all(_is_even(facts, method) for method in methods):
        raise Unclear(f"`{func.attr}` may run another number of times on another rank")
    return beside


def _without_gradients(facts: Facts, module: Module, run: ast.Call) -> bool:
    for around in module.ancestors(run):
        if isinstance(around, ast.With):
            if any(not grad_mode(facts, item.context_expr, True) for item in around.items):
                return True
        if isinstance(around, ast.FunctionDef) and turns_gradients_off(facts, around):
            return True
    functions = [atom.func.site for atom in facts.value(run.func) if isinstance(atom, Bound)]
    known = facts.analysis.functions
    return bool(functions) and all(
        turns_gradients_off(facts, known[site].node) for site in functions
    )


def _is_even(facts: Facts, function: Func) -> bool:
    """Whether a function runs the same number of steps on every rank."""
    info = facts.analysis.functions[function.site]
    nodes = list(nodes_in(info.node))
    if any(isinstance(n, CONDITIONS) and not isinstance(n, ast.IfExp) for n in nodes):
        return False
    return all(_is_even_loop(facts, info.module, n) for n in nodes if isinstance(n, ast.For))


def _is_even_loop(facts: Facts, module: Module, loop: ast.For) -> bool:
    """Whether a loop has as many rounds on every rank: over parts of a model, it has."""
    value = facts.value(loop.iter)
    parts = bool(value) and all(
        facts.analysis.is_module(atom) or (isinstance(atom, Result) and atom.symbol in CONTAINERS)
        for atom in value
    )
    return (parts or is_uniform(facts, module, loop.iter)) and not any(
        isinstance(node, ENDS) for node in nodes_in(loop)
    )


def is_gone_through(facts: Facts, module: Module, statement: ast.With, items: ast.expr) -> bool:
    """Whether `items` are those of a comprehension that every rank runs to its end."""
    loop = module.parents[items]
    whole = module.parents[loop]
    if not isinstance(loop, ast.comprehension) or loop.ifs:
        return False
    if len(getattr(whole, "generators", ())) != 1:
        return False
    if isinstance(whole, ast.GeneratorExp):
        taker = module.parents[whole]
        names = symbols(facts.value(taker.func)) if isinstance(taker, ast.Call) else set()
        if not names & TAKES_ALL:
            return False
    for around in module.ancestors(whole):
        if around is statement:
            return True
        if isinstance(around, (*CONDITIONS, ast.For)):
            return False
    return False
