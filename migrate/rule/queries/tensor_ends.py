"""Where sharded tensors meet what takes none of their kind, as rules ask about it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Tensor, Wrapped
from fsdp_migrate.findings.finding import Fix, Safety
from fsdp_migrate.lowering.tensor_sinks import SinkKind, has_gradient
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.shard_numbers import is_of_the_whole
from fsdp_migrate.rule.queries.values import from_elsewhere
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

KINDS = SinkKind


@dataclass(frozen=True)
class End:
    """One such place; `fix` makes the whole computation one of this rank's shards."""

    module: Module
    node: ast.AST
    operand: ast.expr
    kind: SinkKind
    name: str
    models: frozenset[Wrapped]
    fix: Fix | None
    adds_up: bool  # the numbers of the ranks, added up, are that of the whole
    is_communicated: bool  # the ranks put their numbers together
    has_strangers: bool  # tensors of unknown origin can be among those that are made local


def ends(facts: Facts) -> Iterator[End]:
    """The places, in the order of the files."""
    tensors = facts.tensor_ends.tensors
    communicated = [
        (sink, local.begins)
        for sink, local in facts.tensor_ends.ends
        if local is not None and sink.kind is SinkKind.COLLECTIVE
    ]
    every = frozenset[Site]().union(*(begins for _, begins in communicated))
    for sink, local in facts.tensor_ends.ends:
        begins = tensors.begins(sink.module, sink.operand)
        together = [(c, found) for c, found in communicated if found & begins]
        if sink.kind is SinkKind.COLLECTIVE:
            together = [(sink, begins)]
        yield End(
            sink.module,
            sink.node,
            sink.operand,
            sink.kind,
            sink.name,
            tensors.models(begins) or facts.sharded.models(sink.module, sink.operand, lists=True),
            Fix(local.edits, Safety.SAFE) if local is not None else None,
            all(is_of_the_whole(facts, c, tensors.operations(b, c)) for c, b in together),
            begins <= every,
            _has_strangers(facts, local.begins if local is not None else begins),
        )


def _has_strangers(facts: Facts, begins: frozenset[Site]) -> bool:
    """Whether the computations that begin there can begin with tensors from elsewhere."""
    found = map(facts.tensor_ends.tensors.node_at, begins)
    return any(place is not None and from_elsewhere(facts.value(place[1])) for place in found)


def is_made_local(facts: Facts, node: ast.AST) -> bool:
    """Whether the computation that `node` belongs to becomes one of this rank's shards."""
    local = facts.tensor_ends.local
    return any(isinstance(a, Tensor) and a.origin in local for a in facts.value(node))


def terms_of_loss(facts: Facts, end: End) -> Iterator[tuple[Module, ast.expr]]:
    """The parameters in a loss, which its gradient would have to reach."""
    tensors = facts.tensor_ends.tensors
    for site in sorted(tensors.begins(end.module, end.operand)):
        place = tensors.node_at(site)
        if place is not None and has_gradient(facts.analysis, *place):
            yield place
