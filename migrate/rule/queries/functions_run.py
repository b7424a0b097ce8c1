"""What runs when something is called."""

from __future__ import annotations

from collections.abc import Iterator

from fsdp_migrate.analysis.call_graph import called_function
from fsdp_migrate.analysis.values import Atom, Instance, Partial
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.span import Site


def functions_run(facts: Facts, atom: Atom) -> Iterator[Site]:
    """The functions of the program that run when `atom` is called."""
    site = called_function(atom, facts.analysis.method)
    if site is not None:
        yield site
    if isinstance(atom, Instance) and not facts.analysis.is_module(atom):
        called = facts.analysis.method(atom.cls, "__call__")
        if called is not None:
            yield called
    if isinstance(atom, Partial):
        args, _ = facts.analysis.calls.get(atom.site, ([], {}))
        for inner in args[0] if args else ():
            if not isinstance(inner, Partial):
                yield from functions_run(facts, inner)
