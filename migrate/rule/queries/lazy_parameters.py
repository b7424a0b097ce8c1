"""`scaler(loss, parameters=model.parameters())`: names that are looked at after the backward pass.

`parameters()` is a generator: it gives the parameters that there are when somebody asks.  A
function of the program that runs the backward pass first is given those after it.
"""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.library.modules import PARAMETERS
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.events_in import FunctionsWithEvents
from fsdp_migrate.rule.queries.functions_run import functions_run
from fsdp_migrate.rule.queries.gathered_events import Kind
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes


def looked_at_later(
    facts: Facts, functions: FunctionsWithEvents, call: ast.Call
) -> frozenset[ast.expr]:
    """The arguments of `call` that give parameters after a backward pass that `call` runs."""
    given: list[tuple[int | str, ast.expr]] = [*enumerate(call.args)]
    given += [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg]
    lazy = [(key, node) for key, node in given if _is_lazy(node)]
    if not lazy or any(isinstance(argument, ast.Starred) for argument in call.args):
        return frozenset()
    value = facts.value(call.func)
    sites = [site for atom in value for site in functions_run(facts, atom)]
    if not sites or len(sites) < len(value):
        return frozenset()
    called = [facts.analysis.functions[site] for site in sites]
    return frozenset(
        node for key, node in lazy if all(_after_backward(functions, info, key) for info in called)
    )


def _is_lazy(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in PARAMETERS
    )


def _after_backward(functions: FunctionsWithEvents, info: FunctionInfo, key: int | str) -> bool:
    """Whether a function reads one of its parameters below a backward pass only."""
    name = key if isinstance(key, str) else _name(info, key)
    if isinstance(info.node, ast.Lambda) or name not in {arg.arg for arg in info.positional}:
        return False
    runs = [
        node.lineno
        for statement in info.node.body
        if not isinstance(statement, ast.For | ast.AsyncFor | ast.While)
        for node in own_nodes(statement)
        if isinstance(node, ast.expr)
        and any(event.kind is Kind.BACKWARD for event in functions.events.of(node))
    ]
    reads = [
        node.lineno
        for node in nodes_in(info.node)
        if isinstance(node, ast.Name) and node.id == name
    ]
    return bool(runs) and all(line > min(runs) for line in reads)


def _name(info: FunctionInfo, position: int) -> str:
    """The parameter for an argument by position; the object of a method is none."""
    names = [arg.arg for arg in info.positional]
    names = names[1:] if info.cls is not None else names
    return names[position] if position < len(names) else ""
