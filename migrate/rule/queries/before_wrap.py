"""What takes hold of parameters before the model is wrapped, and what becomes of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.findings.edits import Edit, MoveStatement
from fsdp_migrate.lowering.below_wrap import Remedy, remedies
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in


@dataclass(frozen=True)
class TooEarly:
    """A statement that takes hold of parameters before the wrap replaces them."""

    module: Module
    statement: ast.stmt
    what: str  # takes hold of them, in words for a message
    is_certain: bool  # that the parameters are kept
    wrap_line: int
    wrapped: Wrapped
    moves: tuple[Edit, ...]  # that take it below the wrap; none where something would notice
    switch: tuple[Module, tuple[Edit, ...]] | None  # that hand it the new parameters
    reason: str  # why it can't be moved
    names: frozenset[str]  # what keeps the parameters
    covers: frozenset[ast.stmt]  # the statement, what goes with it, and what is inside of these


def taken_before_wraps(facts: Facts) -> Iterator[TooEarly]:
    """All that takes hold of parameters too early."""
    for remedy in remedies(facts.effects, facts.holders):
        yield _too_early(remedy)


def _too_early(remedy: Remedy) -> TooEarly:
    taken = remedy.taken
    module, holder = taken.module, taken.holder
    below = module.span(taken.below)
    what = (
        "the optimizer that comes with the model" if taken.is_handed else "the list of parameters"
    )
    if holder is not None:
        what = "the optimizer" if holder.is_optimizer else "what a library makes of the parameters"
    return TooEarly(
        module=module,
        statement=taken.statement,
        what=what,
        is_certain=holder is None or holder.is_optimizer,
        wrap_line=taken.below.lineno,
        wrapped=Wrapped(taken.wrap.site),
        moves=tuple(MoveStatement(module.span(statement), below) for statement in remedy.moved),
        switch=(remedy.switch.module, remedy.switch.edits) if remedy.switch is not None else None,
        reason=remedy.reason,
        names=taken.names,
        covers=frozenset(
            node
            for statement in (taken.statement, *remedy.moved)
            for node in nodes_in(statement)
            if isinstance(node, ast.stmt)
        ),
    )
