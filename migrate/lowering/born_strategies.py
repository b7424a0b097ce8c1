"""Sharding strategies where they are born: members of an enum that become labels.

Either all that takes them are constructors, and none needs a mesh of its own: then a strategy is
the value of `reshard_after_forward`.  Or it becomes the name of the member, a string, which all
readers compare and print as before, and constructors look up.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.definitions import removable
from fsdp_migrate.analysis.values import NONE, Atom, Unknown
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import Literal, Part
from fsdp_migrate.lowering.born_values import BornValues, Decided, Migrated, Program, Stays
from fsdp_migrate.lowering.sharding_function import KEEP_UNSHARDED, MEMBERS, ON_WORLD, Rows, rows_of
from fsdp_migrate.lowering.strategy_places import Birth, birth_of, class_references, members_of
from fsdp_migrate.lowering.strategy_reads import (
    NewForm,
    Readers,
    Unclear,
    annotation_nodes,
    of_class,
)
from fsdp_migrate.lowering.value_flow import Place, Read
from fsdp_migrate.lowering.value_reads import Act
from fsdp_migrate.lowering.wrap_site import NotNative
from fsdp_migrate.lowering.written_strategies import written_strategy
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

FAMILY = "strategy"
PARAMETER = "sharding_strategy"
OUTSIDE = "passed from outside"  # how the analysis begins to say so


@dataclass(frozen=True)
class StrategyForm:
    """What the strategies of a program have become."""

    rows: Rows
    calls: frozenset[Site]  # the constructors that are given one
    values: bool = False  # they are values of `reshard_after_forward`


def form_at(born: BornValues, fact: WrapFact) -> StrategyForm | str | None:
    """What the strategy of a call has become, or why it stays; None if it is written there."""
    argument = fact.arguments.get(PARAMETER)
    group = born.of(fact.module, argument.value, FAMILY) if argument is not None else None
    if isinstance(group, Migrated):
        form = group.form
        assert isinstance(form, StrategyForm)
        return form if fact.site in form.calls else None
    if isinstance(group, Stays) and fact.site in group.calls:
        return group.words
    return None


def members_at(born: BornValues, fact: WrapFact) -> frozenset[str]:
    """The strategies that a call can have, where they have become labels."""
    form = form_at(born, fact)
    return form.rows.members if isinstance(form, StrategyForm) else frozenset()


def decide(program: Program) -> Iterable[Decided]:
    """What becomes of the strategies of a program."""
    found = Strategies(program)
    if not found.calls:
        return
    try:
        yield found.migrated()
    except Unclear as error:
        yield Stays(FAMILY, program.modules, found.atoms, str(error), found.sites)


class Strategies:
    """The strategies of a program, but for those that are written where a constructor is called."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.analysis = program.analysis
        self.modules = [self.analysis.project.modules[name] for name in sorted(program.modules)]

    @cached_property
    def _written(self) -> frozenset[ast.AST]:
        """The nodes that go with the constructors that they are written for."""
        found: set[ast.AST] = set()
        for fact, argument in self.program.given(PARAMETER):
            if argument.node is not None:
                found |= self._written_at(fact, argument.node, argument)
        return frozenset(found)

    def _written_at(self, fact: WrapFact, node: ast.expr, argument: Argument) -> set[ast.AST]:
        inside = set(nodes_in(node))
        births = {p.node for p in self.program.flow.births(argument.value)}
        if self.program.stops(fact, PARAMETER) or not fact.direct:
            return inside if births & inside else set()
        members = members_of(argument.value - NONE, ())
        if argument.value & NONE:
            members |= {"FULL_SHARD"}
        try:
            written = written_strategy(self.analysis, fact.module, node, members)
        except NotNative:
            return set()
        for expression, _ in written.replaced:
            inside |= set(nodes_in(expression))
        for statement in written.absorbed:
            if not isinstance(statement, ast.Assign) or not removable(
                self.analysis, fact.module, statement, inside
            ):
                return set()
            inside |= set(nodes_in(statement.value))
        return inside

    @cached_property
    def atoms(self) -> frozenset[Atom]:
        """The values that are left."""
        flow = self.program.flow
        every = {atom for group in flow.groups(FAMILY) for atom in group}
        return frozenset(
            atom for atom in every if any(self._is_ours(place) for place in flow.places([atom]))
        )

    def _is_ours(self, place: Place) -> bool:
        return place.module.name in self.program.modules and place.node not in self._written

    @cached_property
    def births(self) -> tuple[Birth, ...]:
        """Where they are made."""
        found = (birth_of(self.analysis, p) for p in self.program.flow.places(self.atoms))
        return tuple(b for b in found if b is not None and self._is_ours(b.place))

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """What is done with them."""
        return tuple(r for r in self.program.flow.reads(self.atoms) if self._is_ours(r.place))

    @cached_property
    def calls(self) -> tuple[tuple[WrapFact, Argument], ...]:
        """The constructors that are given one of them."""
        return tuple(
            (fact, argument)
            for fact, argument in self.program.given(PARAMETER)
            if argument.value & self.atoms and argument.node not in self._written
        )

    @property
    def sites(self) -> frozenset[Site]:
        """The places of these calls."""
        return frozenset(fact.site for fact, _ in self.calls)

    # ------------------------------------------------------------------ the decision
    def migrated(self) -> Migrated:
        """The strategies as labels, and their readers.

        Raises:
            Unclear: a reader has no form for that.
        """
        is_open = [fact for fact, argument in self.calls if self._is_open(fact, argument)]
        read = list(self._readers())
        classes = self._classes({place.node for place, _ in read})
        rows = rows_of(MEMBERS if is_open or classes else self._members())
        values = self._only_given() and not classes and rows.members <= ON_WORLD
        replaced = [*self._births(rows, values), *read, *classes]
        words = "values of reshard_after_forward" if values else "the names of its members"
        return Migrated(
            FAMILY,
            self.program.modules,
            self.atoms,
            f"ShardingStrategy becomes {words}",
            replaced=tuple({place.node: (place, part) for place, part in replaced}.values()),
            places=frozenset(
                p.node for p in self.program.flow.places(self.atoms) if self._is_ours(p)
            ),
            form=StrategyForm(rows, self.sites, values),
        )

    def _is_open(self, fact: WrapFact, argument: Argument) -> bool:
        """Whether a constructor may be given a strategy that is chosen outside of the program."""
        if self.program.stops(fact, PARAMETER):
            raise Unclear("it goes to a constructor that has no plain form")
        if not fact.direct or argument.node is None:
            raise Unclear("it reaches the constructor through a partial, `wrap` or `**`")
        others = argument.value - self.atoms - NONE
        for atom in others:
            if not isinstance(atom, Unknown) or not atom.reason.startswith(OUTSIDE):
                text = fact.module.text(argument.node)
                reason = atom.reason if isinstance(atom, Unknown) else "it is something else"
                raise Unclear(f"`{text}` is known only at run time: {reason}")
        return bool(others)

    def _members(self) -> frozenset[str]:
        """The strategies that there can be; None is the default for a constructor."""
        found = members_of(self.atoms, self.births)
        optional = any(argument.value & NONE for _, argument in self.calls)
        return found | {"FULL_SHARD"} if optional else found

    def _readers(self) -> Iterator[NewForm]:
        readers = Readers(self.analysis, self.atoms)
        for read in self.reads:
            if read.act is not Act.GIVEN:
                yield from readers.rewritten(read)
            elif not any(read.place.node is a.node for _, a in self.calls):
                raise Unclear(f"`{read.place.module.text(read.parent)}` takes it")

    def _classes(self, done: set[ast.AST]) -> list[NewForm]:
        """What takes the place of references to the class that are neither births nor `done`."""
        annotations = annotation_nodes(self.modules)
        found: list[NewForm] = []
        done |= {node for birth in self.births for node in nodes_in(birth.place.node)}
        for place in class_references(self.analysis, self.modules):
            if place.node not in self._written and place.node not in done:
                found += of_class(self.analysis, place, annotations)
        return found

    def _only_given(self) -> bool:
        """Whether nothing but constructors reads the strategies."""
        return all(read.act is Act.GIVEN for read in self.reads)

    def _births(self, rows: Rows, values: bool) -> Iterator[NewForm]:
        for birth in self.births:
            new = _value(birth) if values else birth.becomes(rows)
            if new is None:
                raise Unclear(f"`{birth.place.module.text(birth.place.node)}` is of another kind")
            yield birth.place, new


def _value(birth: Birth) -> Part | None:
    """A strategy as a value of `reshard_after_forward`."""
    if birth.member is None:
        return None
    return Literal(False) if birth.member in KEEP_UNSHARDED else Literal(None)
