"""Where parameters are read while a forward pass has left them gathered.

The program is followed statement by statement from each of its entries, through the functions
that it calls: which forward passes can have left which models gathered, at every place.  A
backward pass ends that for what was run with gradients, `reshard()` and saving for everything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.values import NOTHING, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.entered_contexts import called_back, enters, exits, generators
from fsdp_migrate.rule.queries.events_in import (
    FunctionsWithEvents,
    functions_with_events,
    of_forward,
)
from fsdp_migrate.rule.queries.gathered_events import Event, Events, Kind
from fsdp_migrate.rule.queries.gathered_states import (
    CLEAN,
    Body,
    Gathered,
    Leaving,
    Passes,
    State,
    Together,
)
from fsdp_migrate.rule.queries.gradient_reads import gradient_reads
from fsdp_migrate.rule.queries.gradients import grad_mode, turns_gradients_off
from fsdp_migrate.rule.queries.lazy_parameters import looked_at_later
from fsdp_migrate.syntax.nodes import children
from fsdp_migrate.syntax.span import Site

STATES = 12  # in which a function is followed, one by one
PASSES = 300  # at one place; more are not told apart by the calls around them
ROUNDS = 3  # that a loop is gone through: what it leaves behind can come in again


@dataclass(frozen=True, eq=False)
class Walk:
    """Follows a program and notes which forward passes are read after."""

    facts: Facts
    events: Events
    functions: FunctionsWithEvents
    read_after: dict[ast.expr, dict[ast.expr, None]] = field(default_factory=dict)
    left_by: dict[ast.expr, dict[Gathered, None]] = field(default_factory=dict)
    written_after: dict[ast.expr, ast.expr] = field(default_factory=dict)
    passes: Passes = field(default_factory=Passes)
    _results: dict[tuple[Site, State, bool], State] = field(default_factory=dict)
    _states: dict[tuple[Site, bool], set[State]] = field(default_factory=dict)
    _together: dict[tuple[Site, bool], Together] = field(default_factory=dict)
    _put_aside: dict[Site, frozenset[Wrapped]] = field(default_factory=dict)
    _active: set[Site] = field(default_factory=set)
    _read: dict[ast.expr, State] = field(default_factory=dict)  # by what reads
    _bodies: list[Body | None] = field(default_factory=list)  # by the function that is followed

    @cached_property
    def trained(self) -> frozenset[ast.expr]:
        """The forward passes that a backward pass was seen for."""
        return frozenset(item.inner for item in self.passes.within(self.passes.ended))

    @cached_property
    def _gradient_reads(self) -> frozenset[ast.AST]:
        return gradient_reads(self.facts)

    # ------------------------------------------------------------------ functions
    def function(self, site: Site, state: State, grad: bool) -> State:
        """The state after a call of the function at `site`."""
        seen = self._states.setdefault((site, grad), set())
        if state not in seen and len(seen) >= STATES:
            return self._of_many(site, state, grad)
        seen.add(state)
        key = (site, state, grad)
        if key in self._results:
            return self._results[key]
        if site in self._active:
            return state
        self._results[key] = self._follow(site, state, grad)
        return self._results[key]

    def _of_many(self, site: Site, state: State, grad: bool) -> State:
        """The state after a call in one of many states: only what is new in it is followed.

        With that goes one forward pass of each model that a backward pass will put away, for
        such a pass makes those behind it alike.
        """
        known = self._together.get((site, grad))
        if known is None:
            known = self._together[site, grad] = Together()
            state = state.union(*self._states[site, grad])
        new = state - known.states
        if site in self._active:
            return state | known.states
        if new:
            inside = new | known.graded
            known.states |= new
            graded = (new | known.graded) & self.passes.graded
            known.graded = self.passes.of(self.passes.last_of_each_model(graded).values())
            known.after |= self._follow(site, inside, grad)
        return known.after

    def _follow(self, site: Site, state: State, grad: bool, body: Body | None = None) -> State:
        """The state after the body of the function at `site`, in which `body` runs at a `yield`."""
        info = self.facts.analysis.functions[site]
        grad = grad and not turns_gradients_off(self.facts, info.node)
        apart = self._apart(site, info)
        aside = state & self.passes.of_models(apart) if apart else CLEAN
        state -= aside
        self._active.add(site)
        self._bodies.append(body)
        leaving = Leaving()
        if isinstance(info.node, ast.Lambda):
            after = self.expression(info.node.body, state, grad)
        else:
            after = self.block(info.node.body, state, grad, leaving) | leaving.returns
        self._bodies.pop()
        self._active.remove(site)
        return after | aside

    def _yielded(self, state: State, grad: bool) -> State:
        """The state after what runs while a generator waits: the body of the context it makes."""
        body = self._bodies[-1] if self._bodies else None
        if body is None:
            return state
        self._bodies.append(None)  # that of the function around the body is another's
        after = body(state, grad)
        self._bodies.pop()
        return after

    def _apart(self, site: Site, info: FunctionInfo) -> frozenset[Wrapped]:
        """The models whose parameters a function does not read where they were left gathered.

        In its own `forward` a part computes with them, and a model that the function wraps itself
        is a new one.
        """
        if site not in self._put_aside:
            events = self.functions.sites.get(site, frozenset())
            made = frozenset(filter(None, (self.events.wrapped_by(event.node) for event in events)))
            self._put_aside[site] = self.events.any_of(of_forward(info)) | made
        return self._put_aside[site]

    # ------------------------------------------------------------------ statements
    def block(
        self, statements: Iterable[ast.stmt], state: State, grad: bool, leaving: Leaving
    ) -> State:
        """The state after `statements`."""
        for statement in statements:
            state = self.statement(statement, state, grad, leaving)
        return state

    def statement(self, node: ast.stmt, state: State, grad: bool, leaving: Leaving) -> State:
        """The state after `node`; nothing is gathered where it doesn't come out at all."""
        match node:
            case ast.If():
                state = self.expression(node.test, state, grad)
                return self.block(node.body, state, grad, leaving) | self.block(
                    node.orelse, state, grad, leaving
                )
            case ast.For() | ast.AsyncFor() | ast.While():
                return self._loop(node, state, grad, leaving)
            case ast.With() | ast.AsyncWith():
                contexts = [item.context_expr for item in node.items]
                return self._with(contexts, node.body, state, grad, leaving)
            case ast.Try():
                return self._try(node, state, grad, leaving)
            case ast.Match():
                state = self.expression(node.subject, state, grad)
                branches = (self.block(c.body, state, grad, leaving) for c in node.cases)
                return state.union(*branches)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return state
            case _:
                return self._simple(node, state, grad, leaving)

    def _simple(self, node: ast.stmt, state: State, grad: bool, leaving: Leaving) -> State:
        for child in children(node):
            if isinstance(child, ast.expr):
                state = self.expression(child, state, grad)
        match node:
            case ast.Return():
                leaving.returns |= state
            case ast.Break():
                leaving.breaks |= state
            case ast.Continue():
                leaving.nexts |= state
            case ast.Raise():
                pass
            case _:
                return state
        return CLEAN

    def _loop(
        self, node: ast.For | ast.AsyncFor | ast.While, state: State, grad: bool, leaving: Leaving
    ) -> State:
        test = node.test if isinstance(node, ast.While) else node.iter
        state = self.expression(test, state, grad)
        inside, before = Leaving(), state
        over = before
        for _ in range(ROUNDS):
            after = self.block(node.body, state, grad, inside) | inside.nexts
            if isinstance(node, ast.While):
                after = self.expression(test, after, grad)
            over -= after
            if after <= state:
                break
            state |= after
        if over and self._only_trains(node):
            state = (state - over) | self.passes.as_untrained(over)
        leaving.returns |= inside.returns
        return self.block(node.orelse, state, grad, leaving) | inside.breaks

    def _only_trains(self, node: ast.For | ast.AsyncFor | ast.While) -> bool:
        """Whether a loop puts weights away by backward passes, of which there are gradients."""
        kinds = {event.kind for event in self.functions.within(node)}
        return Kind.BACKWARD in kinds and Kind.RESHARD not in kinds

    def _try(self, node: ast.Try, state: State, grad: bool, leaving: Leaving) -> State:
        inside = Leaving()
        body = self.block(node.body, state, grad, inside)
        after = self.block(node.orelse, body, grad, inside)
        for handler in node.handlers:
            after |= self.block(handler.body, state | body, grad, inside)
        left = inside.through(lambda each: self.block(node.finalbody, each, grad, leaving))
        leaving.add(left)
        return self.block(node.finalbody, after, grad, leaving)

    def _with(
        self,
        contexts: Sequence[ast.expr],
        body: Sequence[ast.stmt],
        state: State,
        grad: bool,
        leaving: Leaving,
    ) -> State:
        """The state after a body in contexts, each of which is left when what is inside is over."""
        if not contexts:
            return self.block(body, state, grad, leaving)
        context, rest = contexts[0], contexts[1:]
        made = generators(self.functions, context)
        if not made:
            state = self.expression(context, state, grad)
            for site in enters(self.facts, context):
                state = self.function(site, state, grad)
        inside = Leaving()
        own = grad_mode(self.facts, context, grad)

        def run(state: State, grad: bool) -> State:
            after = self._with(rest, body, state, grad and own, inside)
            return after.union(inside.returns, inside.breaks, inside.nexts)

        if made:
            after = CLEAN.union(*(self._follow(site, state, grad, run) for site in made))
        else:
            after = run(state, grad)
        for site in (*called_back(self.functions, context, body), *exits(self.facts, context)):
            after = self.function(site, after, grad)
        leaving.add(inside.through(lambda _: after))
        return after

    # ------------------------------------------------------------------ expressions
    def expression(self, node: ast.expr, state: State, grad: bool) -> State:
        """The state after evaluating `node`, the innermost parts first."""
        if isinstance(node, ast.Yield):
            state = self.expression(node.value, state, grad) if node.value else state
            return self._yielded(state, grad)
        if isinstance(node, ast.Lambda) or not self.functions.is_anything_in(node):
            return state
        if isinstance(node, ast.IfExp):
            state = self.expression(node.test, state, grad)
            body = self.expression(node.body, state, grad)
            return body | self.expression(node.orelse, state, grad)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            return self._comprehension(node, state, grad)
        later = self._later(node)
        for child in children(node):
            if isinstance(child, ast.keyword | ast.Starred | ast.FormattedValue):
                child = child.value
            if isinstance(child, ast.expr) and child not in later:
                state = self.expression(child, state, grad)
        happens = self.events.of(node)
        for event in happens:
            state = self._after(event, state, grad)
        if not isinstance(node, ast.Call) or any(e.kind is Kind.FORWARD for e in happens):
            return state
        # What a constructor looks at are parameters that no forward pass has seen.
        made = self.events.made_by(node)
        aside = state & self.passes.of_models(made) if made else CLEAN
        kept = aside - self.passes.earlier
        after = self._called(node, state - aside, grad) | kept
        for child in later:
            after = self.expression(child, after, grad)
        return after

    def _later(self, node: ast.expr) -> frozenset[ast.expr]:
        """The arguments that are looked at after a backward pass that `node` runs."""
        if not isinstance(node, ast.Call):
            return frozenset()
        return looked_at_later(self.facts, self.functions, node)

    def _comprehension(
        self,
        node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp,
        state: State,
        grad: bool,
    ) -> State:
        for generator in node.generators:
            for part in (generator.iter, *generator.ifs):
                state = self.expression(part, state, grad)
        elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for element in elements:
            state |= self.expression(element, state, grad)
        return state

    def _after(self, event: Event, state: State, grad: bool) -> State:
        """The state after one event."""
        passes = self.passes
        if event.kind is Kind.BACKWARD:
            passes.ended |= state & passes.graded
            return state - passes.graded
        of_models = state & passes.of_models(event.models)
        if event.kind is Kind.RESHARD:
            return state - of_models
        if event.kind is Kind.READ:
            if event.node in self._gradient_reads:
                of_models -= passes.untrained
            self._note_read(event.node, of_models - passes.of_forward(event.node))
            return state
        if event.kind is Kind.WRITE:
            for item in passes.within(of_models):
                self.written_after.setdefault(item.forward, event.node)
            return state
        if event.kind is Kind.PERHAPS_FORWARD and grad:
            return state
        if not grad:
            graded = {item.model for item in passes.within(of_models & passes.graded)}
            own = (Gathered(m, event.node, event.node, m in graded) for m in event.models)
            return state | passes.of(own)
        again = of_models - passes.graded
        own = (Gathered(m, event.node, event.node, True) for m in event.models)
        return (state - again).union(passes.with_gradients(again), passes.of(own))

    def _note_read(self, node: ast.expr, state: State) -> None:
        """Note that `node` reads what the forward passes in `state` have left."""
        new = state - self._read.get(node, CLEAN)
        if new:
            self._read[node] = state | self._read.get(node, CLEAN)
            for item in self.passes.within(new):
                self.read_after.setdefault(item.forward, {})[node] = None
                self.left_by.setdefault(item.forward, {})[item] = None

    def _called(self, node: ast.expr, state: State, grad: bool) -> State:
        """The state after what a call of functions of the program does."""
        called = self.facts.value(node.func) if isinstance(node, ast.Call) else NOTHING
        sites = set(self.functions.called_by(node)) if isinstance(node, ast.Call) else set()
        followed = sorted(site for site in sites if self.functions.any_in(site))
        if not followed:
            return state
        after = [self.function(site, state, grad) for site in followed]
        if len(followed) < len(called):
            after.append(state)
        left = CLEAN.union(*after)
        if grad or len(left) > PASSES:
            return left
        # The evaluation is that around the call, and not the function's, which may train as well.
        own = (
            Gathered(item.model, node, item.inner, item.graded, item.is_earlier)
            for item in self.passes.within(left - state)
        )
        return (left & state) | self.passes.of(own)


def walk(facts: Facts) -> Walk:
    """Follow the program from all of its entries."""
    functions = functions_with_events(facts)
    found = Walk(facts, functions.events, functions)
    if not {Kind.FORWARD, Kind.PERHAPS_FORWARD} & found.functions.kinds:
        return found
    for module in facts.analysis.project.modules.values():
        found.block(module.tree.body, CLEAN, True, Leaving())
    entries = [site for site in sorted(functions.sites) if functions.is_entry(site)]
    left: State = CLEAN
    for _ in range(2):  # what nothing of the program calls is called in any order
        for site in entries:
            after = found.function(site, left, True)
            left |= found.passes.as_earlier(after - found.passes.graded)
        if not left:
            break
    return found
