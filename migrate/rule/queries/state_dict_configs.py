"""`FullStateDictConfig(...)` and its relatives as values: `StateDictOptions` where they are born.

They migrate together with all that reads them, which are contexts that go; a pair for the model
and the optimizer becomes one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from fsdp_migrate.analysis.values import NONE, Atom, Container
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.lowering.carried_options import OPTIONS, Carried, config_of
from fsdp_migrate.lowering.value_flow import Place, Read, ValueFlow, flow_of
from fsdp_migrate.lowering.value_reads import Act
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.state_dict_types import is_annotation, types_of
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

FAMILY = "state_dict_config"
# What may stand around a pair that is carried: it is not taken apart.
CARRYING = (ast.AnnAssign, ast.Dict, ast.Return, ast.Starred, ast.arguments, ast.IfExp, ast.Lambda)


@dataclass(frozen=True)
class Configs:
    """What becomes of the configurations of a program."""

    edits: tuple[tuple[Module, Edit], ...] = ()
    handled: frozenset[ast.AST] = frozenset()  # what stands where something new is put
    unfit: frozenset[Site] = frozenset()  # contexts that can't go: what they carry stays


@lru_cache(maxsize=4)
def configs_of(facts: Facts) -> Configs:
    """What becomes of the configurations, given the contexts that go."""
    return _Configs(facts).found()


class _Configs:
    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.flow: ValueFlow = flow_of(facts.analysis)
        self.going = {plan.call: site for site, plan in facts.modes.plans.items() if plan.native}
        self.carried = {
            site: plan.carried
            for site, plan in facts.modes.plans.items()
            if plan.native and plan.setting is None and plan.carried is not None
        }
        self.edits: dict[tuple[Module, Edit], None] = {}
        self.handled: set[ast.AST] = set()

    def found(self) -> Configs:
        """All that becomes something else, or can't."""
        unfit = {site for site, each in self.carried.items() if not self._fits(each)}
        if unfit:
            return Configs(unfit=frozenset(unfit))
        for each in self.carried.values():
            for module, pair in each.pairs:
                config = next(c for c in each.configs if c.call is pair.elts[0])
                self._put(module, pair, ReplaceExpression(module.span(pair), config.options))
        for group in self.flow.groups(FAMILY):
            if self._group_fits(group):
                self._migrate(group)
        return Configs(tuple(self.edits), frozenset(self.handled))

    def _put(self, module: Module, node: ast.AST, edit: Edit) -> None:
        self.edits[module, edit] = None
        self.handled.update(nodes_in(node))

    def _goes(self, module: Module, node: ast.AST) -> bool:
        return node in self.facts.removed.get(module.name, ()) or node in self.handled

    # ------------------------------------------------------------------ what a context carries
    def _fits(self, carried: Carried) -> bool:
        """Whether everything that the context may be given becomes options."""
        if carried.by_type:
            return types_of(self.facts).as_strings
        if not all(config.module.rewrite for config in carried.configs):
            return False
        made = {config.call for config in carried.configs}
        groups = [
            group
            for group in self.flow.groups(FAMILY)
            if any(place.node in made for place in self.flow.births(group))
        ]
        return all(map(self._group_fits, groups)) and all(
            self._is_carried(module, pair) for module, pair in carried.pairs
        )

    def _is_carried(self, module: Module, pair: ast.Tuple) -> bool:
        """Whether a pair is only moved around, and given to contexts that go."""
        atom = Container(module.site(pair), "tuple")
        return module.rewrite and all(map(self._moves, self.flow.places([atom])))

    def _moves(self, place: Place) -> bool:
        parent = place.module.parents[place.node]
        if isinstance(place.node, ast.Starred):
            return parent in self.going
        if isinstance(parent, ast.Assign):
            return all(isinstance(t, ast.Name | ast.Attribute) for t in parent.targets)
        if isinstance(parent, ast.Subscript):
            return False
        return isinstance(parent, CARRYING)

    # ------------------------------------------------------------------ groups of values
    def _group_fits(self, group: frozenset[Atom]) -> bool:
        births = list(self.flow.births(group))
        reads = self.flow.reads(group)
        within = self.flow.places(self.flow.holders(group))
        return (
            all(map(self._can_be_born, births))
            and all(map(self._is_read_well, reads))
            and all(map(self._is_spread_well, within))
        )

    def _is_spread_well(self, place: Place) -> bool:
        """Whether what holds a value is given with a star to contexts that go alone."""
        parent = place.module.parents[place.node]
        if not isinstance(parent, ast.Starred):
            return True
        call = place.module.parents[parent]
        return call in self.going or self._goes(place.module, place.node)

    def _can_be_born(self, place: Place) -> bool:
        if self._goes(place.module, place.node):
            return True
        return (
            place.module.rewrite
            and isinstance(place.node, ast.Call)
            and any(
                config_of(self.facts.analysis, atom) is not None
                for atom in self.facts.value(place.node)
            )
        )

    def _is_read_well(self, read: Read) -> bool:
        if self._goes(read.place.module, read.place.node):
            return True
        if read.inside:
            return read.act is not Act.UNKNOWN
        if read.act is Act.GIVEN:
            return read.parent in self.going
        if read.act is Act.COMPARED and isinstance(read.parent, ast.Compare):
            return any(self.facts.value(node) == NONE for node in read.parent.comparators)
        return read.act is Act.TESTED

    def _migrate(self, group: frozenset[Atom]) -> None:
        for place in self.flow.births(group):
            if self._goes(place.module, place.node):
                continue
            for atom in self.facts.value(place.node) & group:
                config = config_of(self.facts.analysis, atom)
                if config is not None:
                    edit = ReplaceExpression(place.module.span(place.node), config.options)
                    self._put(place.module, place.node, edit)
        for module, node in self._annotations(group):
            self._put(module, node, ReplaceExpression(module.span(node), OPTIONS))

    def _annotations(self, group: frozenset[Atom]) -> Iterator[tuple[Module, ast.expr]]:
        """Where the types of the values are stated."""
        names = {getattr(atom, "symbol", "") for atom in group}
        for use in self.facts.uses:
            if use.receiver is None and use.name in names and use.call is None:
                if is_annotation(use.module, use.node):
                    yield use.module, use.node
