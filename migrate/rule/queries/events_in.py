"""Which functions of a program do something to the weights of models, themselves or by calls."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache

from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.values import NOTHING, Instance, Value
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.functions_run import functions_run
from fsdp_migrate.rule.queries.gathered_events import Event, Events, Kind
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.span import Site

OF_CONTEXTS = frozenset({"__aenter__", "__aexit__", "__enter__", "__exit__"})  # run by `with`


class FunctionsWithEvents:
    """The events of each function, those of the functions that it calls included."""

    def __init__(self, facts: Facts, events: Events) -> None:
        self.facts = facts
        self.events = events
        self._anything: dict[ast.expr, bool] = {}
        self._within: dict[ast.AST, frozenset[Event]] = {}
        self._called: dict[ast.Call, tuple[Site, ...]] = {}

    @cached_property
    def _own(self) -> Mapping[Site, frozenset[Event]]:
        return {
            site: frozenset(self._events_in(own_nodes(info.node)))
            for site, info in self.facts.analysis.functions.items()
        }

    def _events_in(self, nodes: Iterable[ast.AST]) -> Iterator[Event]:
        for node in nodes:
            if isinstance(node, ast.expr):
                yield from self.events.of(node)

    @cached_property
    def sites(self) -> Mapping[Site, frozenset[Event]]:
        """The functions with events, and the events in them and in what they call."""
        found = {site: own for site, own in self._own.items() if own}
        todo = list(found)
        while todo:
            site = todo.pop()
            for caller in self._callers[site]:
                known = found.get(caller, frozenset())
                if not found[site] <= known:
                    found[caller] = known | found[site]
                    todo.append(caller)
        return found

    @cached_property
    def _callers(self) -> Mapping[Site, frozenset[Site]]:
        """The functions that call each function."""
        found: dict[Site, set[Site]] = {site: set() for site in self._own}
        for site, info in self.facts.analysis.functions.items():
            for node in own_nodes(info.node):
                if isinstance(node, ast.Call):
                    for called in self.called_by(node):
                        found.setdefault(called, set()).add(site)
        return {site: frozenset(callers) for site, callers in found.items()}

    def _called_by(self, call: ast.Call) -> Iterator[Site]:
        for atom in self.facts.value(call.func):
            yield from functions_run(self.facts, atom)
        yield from self._by_the_way.get(call, ())

    @cached_property
    def _by_the_way(self) -> Mapping[ast.AST, list[Site]]:
        """What a call runs that it is given: `pool.submit(train)`, `Thread(target=train)`."""
        analysis = self.facts.analysis
        found: dict[ast.AST, list[Site]] = {}
        for site, info in analysis.functions.items():
            if info.name not in OF_CONTEXTS:
                for _, node in analysis.call_graph.runs_of(site):
                    found.setdefault(node, []).append(site)
        return found

    def is_called(self, site: Site) -> bool:
        """Whether something of the program calls the function at `site`."""
        graph = self.facts.analysis.call_graph
        return bool(self._callers.get(site) or graph.runs_of(site))

    @cached_property
    def _wrapping(self) -> frozenset[ast.AST]:
        return frozenset(fact.node for fact in self.facts.analysis.wraps.values())

    def is_entry(self, site: Site) -> bool:
        """Whether nothing of the program calls a function, so that it may run at any time.

        The `forward` of what is sharded runs in forward passes, the functions that a constructor
        of FSDP1 is given while it wraps.
        """
        if self.is_called(site):
            return False
        info = self.facts.analysis.functions[site]
        if self.events.any_of(of_forward(info)):
            return False
        return self._wrapping.isdisjoint(info.module.ancestors(info.node))

    def any_in(self, site: Site) -> bool:
        """Whether the function at `site` does anything to weights."""
        return site in self.sites

    def called_by(self, call: ast.Call) -> tuple[Site, ...]:
        """The functions that `call` runs."""
        if call not in self._called:
            self._called[call] = tuple(dict.fromkeys(self._called_by(call)))
        return self._called[call]

    def is_anything_in(self, node: ast.expr) -> bool:
        """Whether evaluating `node` may do anything to weights, itself or by functions."""
        known = self._anything.get(node)
        if known is None:
            known = self._anything[node] = any(
                self.events.of(inner)
                or (isinstance(inner, ast.Call) and any(map(self.any_in, self.called_by(inner))))
                for inner in nodes_in(node)
                if isinstance(inner, ast.expr)
            )
        return known

    def within(self, node: ast.AST) -> frozenset[Event]:
        """The events in `node`, and in the functions that it calls."""
        if node not in self._within:
            self._within[node] = self._all_within(node)
        return self._within[node]

    def _all_within(self, node: ast.AST) -> frozenset[Event]:
        found = set(self._events_in(nodes_in(node)))
        for call in nodes_in(node):
            if isinstance(call, ast.Call):
                for site in self.called_by(call):
                    found |= self.sites.get(site, frozenset())
        return frozenset(found)

    @cached_property
    def kinds(self) -> frozenset[Kind]:
        """All that happens anywhere in the program."""
        trees = (module.tree for module in self.facts.analysis.project.modules.values())
        return frozenset(event.kind for tree in trees for event in self._events_in(nodes_in(tree)))


def of_forward(info: FunctionInfo) -> Value:
    """The object whose `forward` a function is."""
    is_forward = info.name == "forward" and info.cls is not None
    return frozenset({Instance(info.cls)}) if is_forward and info.cls else NOTHING


@lru_cache(maxsize=1)
def functions_with_events(facts: Facts) -> FunctionsWithEvents:
    """The events of the functions of a program; they are found once."""
    return FunctionsWithEvents(facts, Events(facts))
