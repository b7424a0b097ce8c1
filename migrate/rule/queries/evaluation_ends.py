"""Where an evaluation ends: the places at which its forward passes are over."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.values import (
    Atom,
    Bound,
    Cls,
    Const,
    Container,
    Func,
    Instance,
    Partial,
    Wrapped,
)
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.conditions import startable
from fsdp_migrate.rule.queries.events_in import FunctionsWithEvents
from fsdp_migrate.rule.queries.gathered import Walk
from fsdp_migrate.rule.queries.gathered_events import Kind
from fsdp_migrate.rule.queries.gradients import grad_mode
from fsdp_migrate.rule.queries.models import only_models
from fsdp_migrate.rule.queries.running import FUNCTIONS, LOOPS
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import binds

LAZY = (ast.GeneratorExp, ast.Lambda)
SELF = "self"
NO_MODULE = (Bound, Cls, Const, Container, Func, Partial)  # what can be called, or None
CONTEXTS = (ast.With, ast.AsyncWith)


@dataclass(frozen=True)
class Before:
    """A place above a statement."""

    statement: ast.stmt


@dataclass(frozen=True)
class After:
    """A place below a statement."""

    statement: ast.stmt


@dataclass(frozen=True)
class WithinReturn:
    """A place between the value of a `return` and the leaving."""

    statement: ast.Return
    value: ast.expr


Place = Before | After | WithinReturn


@dataclass(frozen=True)
class Named:
    """Models, by the name that they have at some place."""

    node: ast.expr
    models: frozenset[Wrapped]
    is_root: bool  # it is a model for certain, and nothing else
    may_be_no_module: bool = False  # but None, a list or a function
    is_itself: bool = True  # where it is a model, it is the one that is resharded

    @property
    def path(self) -> str:
        """The name, to compare it with others."""
        return ast.dump(self.node)


@dataclass(frozen=True)
class Ending:
    """What puts the weights of models away, and where."""

    module: Module
    forward: ast.expr  # or what reads the parameters, where it is put in front of that
    models: frozenset[Wrapped]
    named: tuple[Named, ...]  # none where the models have no name there
    places: tuple[Place, ...]
    first_read: tuple[Module, ast.expr]
    more: Sequence[ast.expr] = ()  # what reads the parameters besides
    is_written: bool = False  # FSDP1 went on with what was gathered before a write

    @property
    def anchor(self) -> ast.AST:
        """The place that a finding is about."""
        return self.places[0].statement if self.places else self.forward


def endings(facts: Facts, walk: Walk) -> Iterator[Ending]:
    """What has to be put in so that nothing reads gathered parameters."""
    finder = _Finder(facts, walk)
    every = [ending for forward in walk.read_after for ending in finder.of(forward)]
    every.sort(key=lambda ending: ending.module.site(ending.forward))
    together: dict[object, Ending] = {}
    for ending in without_repeats(every, walk.functions):
        if ending.module.rewrite:
            key = (ending.module.name, ending.places or ending.forward)
            known = together.get(key)
            together[key] = _joined(known, ending) if known is not None else ending
    yield from together.values()


def _joined(one: Ending, other: Ending) -> Ending:
    """The endings of two evaluations at the same places."""
    known = {named.path for named in one.named}
    named = (*one.named, *(n for n in other.named if n.path not in known))
    return replace(
        one,
        models=one.models | other.models,
        named=named,
        is_written=one.is_written or other.is_written,
    )


def without_repeats(found: list[Ending], functions: FunctionsWithEvents) -> list[Ending]:
    """`found` without those that another one follows in the same block, with nothing in between
    that reads parameters."""
    return [one for one in found if not any(_follows(one, other, functions) for other in found)]


def _follows(one: Ending, other: Ending, functions: FunctionsWithEvents) -> bool:
    """Whether `other` makes `one` superfluous."""
    if one is other or one.module is not other.module:
        return False
    if {named.path for named in one.named} != {named.path for named in other.named}:
        return False
    if len(one.places) != 1 or not isinstance(one.places[0], After) or not other.places:
        return False
    first, last = one.places[0].statement, other.places[0].statement
    block = one.module.block(first)
    if last not in block or block.index(first) >= block.index(last):
        return False
    between = block[block.index(first) + 1 : block.index(last) + 1]
    return not any(
        event.kind in (Kind.READ, Kind.BACKWARD)
        for statement in between
        for event in functions.within(statement)
    ) and not any(
        isinstance(node, ast.Return | ast.Break | ast.Continue)
        for statement in between
        for node in own_nodes(statement)
        if statement is not last
    )


class _Finder:
    """Finds the end of the evaluation around a forward pass."""

    def __init__(self, facts: Facts, walk: Walk) -> None:
        self.facts = facts
        self.walk = walk
        self.functions: FunctionsWithEvents = walk.functions
        self.homes = {
            node: module
            for module in facts.analysis.project.modules.values()
            for node in module.parents
            if isinstance(node, ast.expr)
        }

    def of(self, forward: ast.expr) -> Iterator[Ending]:
        """The ending behind `forward`, or one in front of each place that reads."""
        written = forward in self.walk.written_after
        yield from (replace(ending, is_written=written) for ending in self._of(forward))

    def _of(self, forward: ast.expr) -> Iterator[Ending]:
        reads = list(self.walk.read_after[forward])
        left = self.walk.left_by[forward]
        models = frozenset(item.model for item in left)
        in_front = list(self._in_front(forward, reads, models))
        # The call without gradients, or where it names no model the forward passes in it.
        candidates = ([forward], list({item.inner: None for item in left}))
        for may_ask in (False, True):
            for places in candidates:
                found = [self._behind(place, models, reads, may_ask) for place in places]
                if all(ending is not None for ending in found):
                    yield from (ending for ending in found if ending is not None)
                    return
            if len(in_front) == 1 and in_front[0].places:
                break  # which is less than asking what the model is
        yield from in_front

    def _behind(
        self, forward: ast.expr, models: frozenset[Wrapped], reads: list[ast.expr], may_ask: bool
    ) -> Ending | None:
        """The ending behind `forward`; it asks if there is a model only where it may."""
        module, first = self.homes[forward], (self.homes[reads[0]], reads[0])
        named = self._named(forward, models) or self._own(forward, models)
        if named is not None and named.may_be_no_module and not may_ask:
            named = self._own(forward, models)
        places = self._places(module, forward, named.node, reads) if named is not None else None
        if named is None or not places:
            return None
        return Ending(module, forward, models, (named,), places, first)

    def _in_front(
        self, forward: ast.expr, reads: list[ast.expr], models: frozenset[Wrapped]
    ) -> Iterator[Ending]:
        """An ending in front of each place that reads; or else one without a place for all."""
        found: list[Ending] = []
        for read in reads:
            home, named = self.homes[read], self._named(read, models)
            if named is None or named.may_be_no_module or _is_lazy(home, read):
                first = self.homes[reads[0]], reads[0]
                yield Ending(self.homes[forward], forward, models, (), (), first, more=reads[1:])
                return
            before = Before(startable(home, home.statement(read)))
            found.append(Ending(home, read, models, (named,), (before,), (home, read)))
        yield from found

    def _own(self, call: ast.expr, models: frozenset[Wrapped]) -> Named | None:
        """The model of an object whose own method `self.evaluate(x)` is called."""
        func = call.func if isinstance(call, ast.Call) else None
        owner = func.value if isinstance(func, ast.Attribute) else func
        if not isinstance(owner, ast.Name) or owner.id != SELF:
            return None
        for item in self.walk.left_by.get(call, ()):
            named = self._named(item.inner, models)
            if named is not None and self.homes[item.inner] is self.homes[call]:
                names = [n for n in nodes_in(named.node) if isinstance(n, ast.Name)]
                same = self.facts.value(names[0]) & self.facts.value(owner)
                if same and [name.id for name in names] == [SELF]:
                    return named
        return None

    def _named(self, node: ast.expr, models: frozenset[Wrapped]) -> Named | None:
        """What the model is called at `node`, where it has a name."""
        perhaps: Named | None = None
        for inner in nodes_in(node):
            if isinstance(inner, ast.expr) and _is_plain(inner):
                value = self.facts.value(inner)
                whole = models & self.walk.events.whole(value)
                found = whole or models & self.walk.events.perhaps(value)
                if not found or (isinstance(inner, ast.Attribute) and inner.attr == "module"):
                    continue
                named = Named(inner, found, bool(only_models(self.facts, inner)))
                if whole and not any(map(self._is_no_module, value)):
                    return named
                itself = not whole or found <= self.walk.events.itself(value)
                if perhaps is None and isinstance(inner, ast.Name | ast.Subscript):
                    perhaps = replace(named, may_be_no_module=True, is_itself=itself)
        return perhaps

    def _is_no_module(self, atom: Atom) -> bool:
        """Whether it is a function, None, or an object of a class that is no module."""
        plain = isinstance(atom, Instance) and not self.facts.analysis.is_module(atom)
        return plain or isinstance(atom, NO_MODULE)

    # ------------------------------------------------------------------ the end of an evaluation
    def _places(
        self, module: Module, forward: ast.expr, model: ast.expr, reads: Collection[ast.expr]
    ) -> tuple[Place, ...] | None:
        """Where the evaluation around `forward` is left; None where that can't be told."""
        if _is_lazy(module, forward):
            return None
        region = self._region(module, forward, model, reads)
        if region is None:
            return None
        if isinstance(region, ast.Return) and region.value is not None:
            return (WithinReturn(region, region.value),)
        places = [
            self._at_return(node)
            for node in own_nodes(region)
            if isinstance(node, ast.Return) and node is not region
        ]
        if any(isinstance(n, ast.Yield | ast.YieldFrom) for n in own_nodes(region)):
            return None  # who reads what comes out may read parameters as well
        if _falls_through(region):
            places.append(After(region))
        return tuple(places) or None

    def _at_return(self, node: ast.Return) -> Place:
        runs = node.value is not None and any(
            event.kind in (Kind.FORWARD, Kind.PERHAPS_FORWARD)
            for event in self.functions.within(node.value)
        )
        if runs and node.value is not None:
            return WithinReturn(node, node.value)
        return Before(node)

    def _region(
        self, module: Module, forward: ast.expr, model: ast.expr, reads: Collection[ast.expr]
    ) -> ast.stmt | None:
        """The outermost loop or context without gradients around `forward` that only evaluates.

        A loop that trains as well counts if there is none further in, so that nothing is put in
        between a forward pass and its backward pass; None if that can't be avoided.
        """
        # Behind a forward pass that has a backward pass, that one would have to gather again.
        trains = forward in self.walk.trained
        region, evaluates = startable(module, module.statement(forward)), False
        names = {node.id for node in nodes_in(model) if isinstance(node, ast.Name)}
        for around in module.ancestors(forward):
            if isinstance(around, (*FUNCTIONS, ast.ClassDef, ast.Module)):
                break
            off = isinstance(around, CONTEXTS) and not all(
                grad_mode(self.facts, item.context_expr, True) for item in around.items
            )
            if not isinstance(around, ast.stmt) or not (off or isinstance(around, LOOPS)):
                continue
            trains = not evaluates and self._trains(around)
            if names & binds(around) or self._reads(around, reads):
                break
            if evaluates and self._trains(around):
                break
            region, evaluates, trains = around, True, False
        return None if trains else region

    def _trains(self, around: ast.AST) -> bool:
        return any(event.kind is Kind.BACKWARD for event in self.functions.within(around))

    def _reads(self, around: ast.AST, reads: Collection[ast.expr]) -> bool:
        return any(event.node in reads for event in self.functions.within(around))


def _is_plain(node: ast.expr) -> bool:
    """Whether `node` is `a`, `a.b`, `a[0]` or the like, which can be evaluated once more."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant | ast.Name) and _is_plain(node.value)
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_plain(node.value))


def _is_lazy(module: Module, node: ast.AST) -> bool:
    """Whether `node` runs at another time than the statement that it stands in."""
    for around in module.ancestors(node):
        if isinstance(around, ast.stmt):
            return False
        if isinstance(around, LAZY):
            return not _is_consumed(module, around)
    return False


def _is_consumed(module: Module, node: ast.AST) -> bool:
    """Whether a generator is the only argument of a call: of `sum`, of `list`."""
    parent = module.parents[node]
    return isinstance(node, ast.GeneratorExp) and isinstance(parent, ast.Call)


def _falls_through(statement: ast.stmt) -> bool:
    """Whether what is below `statement` can be reached."""
    if isinstance(statement, ast.Return | ast.Raise):
        return False
    if isinstance(statement, CONTEXTS):
        return all(map(_falls_through, statement.body))
    if isinstance(statement, ast.If) and statement.orelse:
        return all(map(_falls_through, statement.body)) or all(
            map(_falls_through, statement.orelse)
        )
    return True
