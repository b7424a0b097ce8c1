"""What runs where a context of the program is entered, and where it is left."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from fsdp_migrate.analysis.values import Instance, Result
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.events_in import FunctionsWithEvents
from fsdp_migrate.rule.queries.functions_run import functions_run
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.span import Site

MAKERS = frozenset({"asynccontextmanager", "contextmanager"})
STACKS = frozenset({"contextlib.AsyncExitStack", "contextlib.ExitStack"})
CALLED_BACK = frozenset({"callback", "push", "push_async_callback", "push_async_exit"})
ENTERED = frozenset({"enter_async_context", "enter_context"})


def generators(functions: FunctionsWithEvents, context: ast.expr) -> list[Site]:
    """The generators that make the context, if they do something to weights: they run around it."""
    if not isinstance(context, ast.Call):
        return []
    sites = [site for site in functions.called_by(context) if functions.any_in(site)]
    return sorted(site for site in sites if _makes_context(functions.facts, site))


def _makes_context(facts: Facts, site: Site) -> bool:
    info = facts.analysis.functions[site]
    waits = any(isinstance(node, ast.Yield) for node in own_nodes(info.node))
    return waits and bool(info.decorators & MAKERS)


def enters(facts: Facts, context: ast.expr) -> list[Site]:
    """The methods of the program that run when an object is entered."""
    return _methods(facts, context, ("__enter__", "__aenter__"))


def exits(facts: Facts, context: ast.expr) -> list[Site]:
    """The methods of the program that run when an object is left."""
    return _methods(facts, context, ("__exit__", "__aexit__"))


def _methods(facts: Facts, context: ast.expr, names: Sequence[str]) -> list[Site]:
    found: set[Site] = set()
    for atom in facts.value(context):
        if isinstance(atom, Instance):
            sites = (facts.analysis.method(atom.cls, name) for name in names)
            found |= {site for site in sites if site is not None}
    return sorted(found)


def called_back(
    functions: FunctionsWithEvents, context: ast.expr, body: Sequence[ast.stmt]
) -> Iterator[Site]:
    """What a stack of contexts runs when it is left, of what the body puts on it, the last first.

    Of a generator all runs once more: what stands above its `yield` comes again.
    """
    facts = functions.facts
    made = (a.symbol for a in facts.value(context) if isinstance(a, Result))
    if not STACKS & set(made):
        return
    calls = [n for statement in body for n in nodes_in(statement) if isinstance(n, ast.Call)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset), reverse=True):
        if not isinstance(call.func, ast.Attribute) or not call.args:
            continue
        given = call.args[0]
        if call.func.attr in ENTERED:
            yield from generators(functions, given)
            yield from exits(facts, given)
        elif call.func.attr in CALLED_BACK:
            for atom in facts.value(given):
                yield from (s for s in functions_run(facts, atom) if functions.any_in(s))
