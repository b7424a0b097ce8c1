"""Questions about values that are migrated where they are born."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.findings.code import NOTHING
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.lowering.born_values import Migrated
from fsdp_migrate.rule.dead_code import taken_nodes
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module


@dataclass(frozen=True)
class BornIn:
    """What becomes of a group of values in one file: the first place, and the edits."""

    module: Module
    first: ast.AST
    words: str
    edits: tuple[Edit, ...]
    models: frozenset[str]


def born_in_files(facts: Facts) -> Iterator[BornIn]:
    """The groups of values that are migrated, file by file."""
    for migrated in facts.born.migrated:
        readers = facts.born.readers(migrated, (p.fact for p in facts.wraps.values()))
        models = facts.models(Wrapped(fact.site) for fact in readers)
        for module in facts.analysis.project.modules.values():
            found = list(_changes(facts, module, migrated))
            if found:
                found.sort(key=lambda change: change[1].span)
                nodes, edits = zip(*found, strict=True)
                yield BornIn(module, nodes[0], migrated.words, tuple(edits), models)


def _changes(facts: Facts, module: Module, migrated: Migrated) -> Iterator[tuple[ast.AST, Edit]]:
    """The edits of a file, but for those inside what goes with a constructor."""
    taken = taken_nodes(facts, module)
    for place, part in migrated.replaced:
        if place.module is module and place.node not in taken:
            yield place.node, ReplaceExpression(module.span(place.node), part)
    for owner, statement in migrated.dropped:
        if owner is module and statement not in taken:
            yield statement, ReplaceStatement(module.span(statement), NOTHING)
