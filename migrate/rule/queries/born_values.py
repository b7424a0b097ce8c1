"""Questions about values that are migrated where they are born."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.findings.code import NOTHING, Code, Element, Kept, Keyword, Part, call
from fsdp_migrate.findings.edits import (
    Define,
    Edit,
    ReplaceExpression,
    ReplaceStatement,
    RewriteArguments,
    TakenFrom,
)
from fsdp_migrate.lowering.born_values import Migrated
from fsdp_migrate.rule.dead_code import taken_nodes
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Span


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
            yield place.node, _edit(module, place.node, part)
    for place, function in migrated.defined:
        if place.module is module and place.node not in taken:
            yield place.node, Define(module.span(module.statement(place.node)), function)
    for owner, statement in migrated.dropped:
        if owner is module and statement not in taken:
            yield statement, ReplaceStatement(module.span(statement), NOTHING)


def _edit(module: Module, node: ast.expr, part: Part) -> Edit:
    """The edit that puts `part` in the place of `node`.

    A call that becomes another one with some of its arguments keeps their lines and comments;
    the others go with theirs.
    """
    span = module.span(node)
    if isinstance(node, ast.Call) and isinstance(part, Code) and part.is_call:
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        values.sort(key=lambda value: (value.lineno, value.col_offset))
        index = {module.span(value): i for i, value in enumerate(values)}
        arguments = part["arguments"]
        assert isinstance(arguments, tuple)
        places = [_place_of(argument, index) for argument in arguments]
        known = [place for place in places if place is not None]
        if known and len(set(known)) == len(known):
            last = len(values)
            pairs = sorted(
                zip(arguments, places, strict=True),
                key=lambda pair: last if pair[1] is None else pair[1],
            )
            made = call(_callee(part), *(argument for argument, _ in pairs))
            taken = tuple(TakenFrom(i) if i is not None else None for _, i in pairs)
            gone = [value for i, value in enumerate(values) if i not in known]
            speak = frozenset(c for value in gone for c in _comments_above(module, node, value))
            return RewriteArguments(span, made, taken, without_comments=speak)
    return ReplaceExpression(span, part)


def _comments_above(module: Module, call: ast.Call, gone: ast.expr) -> Iterator[str]:
    """The comments on the lines right above an argument that speak of nothing below it."""
    by_line = module.comments or {}
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    others = [value for value in values if value is not gone]
    line, last = gone.lineno, gone.end_lineno or gone.lineno
    taken = {n for other in others for n in (other.lineno, other.end_lineno)} | {call.lineno}
    follows = any(other.lineno > last for other in others) and last + 1 not in by_line
    if follows or taken & {line, last}:
        return
    inside = range(call.lineno, (call.end_lineno or call.lineno) + 1)
    times = Counter(text for n, text in by_line.items() if n in inside)
    while (line := line - 1) in by_line and line not in taken:
        if times[by_line[line]] == 1:
            yield by_line[line]


def _callee(code: Code) -> Part:
    callee = code["callee"]
    assert not isinstance(callee, tuple)
    return callee


def _place_of(argument: Element, index: Mapping[Span, int]) -> int | None:
    """Which argument of the source an argument is."""
    value = argument.value if isinstance(argument, Keyword) else None
    return index.get(value.span) if isinstance(value, Kept) and not value.instead else None
