"""Models that are inside of others: FSDP1 takes no part that FSDP2 has sharded, nor the reverse."""

from __future__ import annotations

from collections.abc import Iterator

from fsdp_migrate.analysis.values import Unknown, Wrapped
from fsdp_migrate.lowering.modules_inside import modules_of
from fsdp_migrate.rule.facts import Facts


def nested_models(facts: Facts) -> Iterator[frozenset[Wrapped]]:
    """Each model with those that are, or may be, inside of it."""
    for site, fact in facts.analysis.wraps.items():
        found = {Wrapped(site)}
        for atom in modules_of(facts.analysis, fact)[0]:
            if isinstance(atom, Wrapped):
                found.add(atom)
            elif isinstance(atom, Unknown):
                found |= {Wrapped(inside) for inside in atom.models}
        yield frozenset(found)
