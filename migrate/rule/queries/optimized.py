"""Which models an optimizer steps."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Result, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import owners


def models_optimized_by(facts: Facts, optimizer: ast.expr) -> frozenset[Wrapped]:
    """The FSDP models whose parameters the optimizer (of a library) was made with."""
    made = [
        facts.analysis.call_nodes.get(atom.site)
        for atom in facts.value(optimizer)
        if isinstance(atom, Result)
    ]
    return frozenset(
        model
        for call in made
        if call is not None
        for argument in call.args
        for model in owners(facts, argument)
    )
