"""Values of FSDP1's types that are migrated where they are born, with all that reads them.

A group of values is decided as a whole, before the constructor calls are lowered: everything that
is done with one of them needs a form for what it becomes, and every constructor that is given one
has to become plain calls.  What can't be decided so keeps FSDP1's type, and says why.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Atom, Value
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import Code, Part
from fsdp_migrate.lowering.value_flow import Place, ValueFlow, flow_of
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site


@dataclass(frozen=True, eq=False)
class Migrated:
    """Values that become something else: the places that say so, in all files."""

    family: str
    modules: frozenset[str]  # the program that they are of, by the names of its modules
    atoms: frozenset[Atom]
    words: str  # what became of them
    replaced: tuple[tuple[Place, Part], ...] = ()
    dropped: tuple[tuple[Module, ast.stmt], ...] = ()  # statements that have nothing to do any more
    places: frozenset[ast.AST] = frozenset()  # all that hold one of them
    form: object = None  # what their family has to know about it at a constructor
    defined: tuple[tuple[Place, Code], ...] = ()  # functions of the file that places need


@dataclass(frozen=True, eq=False)
class Stays:
    """Values that keep FSDP1's type, and why."""

    family: str
    modules: frozenset[str]
    atoms: frozenset[Atom]
    words: str  # which value it is, and where it comes from
    calls: frozenset[Site] = frozenset()  # the constructors that are given one


Decided = Migrated | Stays
# Arguments that stay FSDP1's values: those of calls that no plain calls can take the place of, and
# those that only the run knows.
ANYTHING = "**"  # in the place of a parameter: whatever comes through `**`
UNSEEN = "a constructor call may be given it through `**`"
Stopped = frozenset[tuple[Site, str]]
ArgumentsOf = Callable[[WrapFact], Mapping[str, Argument]]


@dataclass(frozen=True, eq=False)
class Program:
    """What a family's decision is made from: the files that import each other, and their wraps."""

    flow: ValueFlow
    modules: frozenset[str]
    arguments_of: ArgumentsOf  # those of a constructor call, out of a dict that is written out too
    facts: tuple[WrapFact, ...]
    stopped: Stopped

    @property
    def analysis(self) -> Analysis:
        """The facts of the program."""
        return self.flow.analysis

    def stops(self, fact: WrapFact, parameter: str) -> bool:
        """Whether an argument of a constructor call stays FSDP1's value."""
        return (fact.site, parameter) in self.stopped

    def given(self, parameter: str) -> Iterator[tuple[WrapFact, Argument]]:
        """The constructor calls of these files that have an argument, and that."""
        for fact in self.facts:
            if fact.module.name in self.modules:
                argument = self.arguments_of(fact).get(parameter)
                if argument is not None:
                    yield fact, argument


Decide = Callable[[Program], Iterable[Decided]]


@dataclass(frozen=True, eq=False)
class BornValues:
    """What has been decided, group by group."""

    groups: tuple[Decided, ...] = field(default=())

    @property
    def migrated(self) -> tuple[Migrated, ...]:
        """The groups that become something else."""
        return tuple(group for group in self.groups if isinstance(group, Migrated))

    def of(self, module: Module, value: Value, family: str) -> Decided | None:
        """The group that a value is of, at a place of a file; None if nobody has decided."""
        for group in self.groups:
            if group.family == family and module.name in group.modules and group.atoms & value:
                return group
        return None

    def readers(self, migrated: Migrated, facts: Iterable[WrapFact]) -> Iterator[WrapFact]:
        """The constructor calls among `facts` that are given one of these values."""
        for fact in facts:
            if fact.module.name in migrated.modules and any(
                migrated.atoms & argument.value for argument in fact.arguments.values()
            ):
                yield fact


def born_values(
    analysis: Analysis,
    families: Iterable[Decide],
    arguments_of: ArgumentsOf,
    facts: tuple[WrapFact, ...],
    stopped: Stopped = frozenset(),
) -> BornValues:
    """What becomes of the values of `families`, where the arguments `stopped` stay."""
    flow = flow_of(analysis)
    taken = frozenset(site.module for site, name in stopped if name == ANYTHING)
    programs = {analysis.project.program_of(name) for name in sorted(analysis.project.modules)}
    return BornValues(
        tuple(
            group
            for modules in sorted(programs, key=sorted)
            for decide in families
            for group in _kept(decide(Program(flow, modules, arguments_of, facts, stopped)), taken)
        )
    )


def _kept(groups: Iterable[Decided], taken: frozenset[str]) -> Iterator[Decided]:
    """`groups`, where those stay that a call may be given whose arguments are not to be seen."""
    for group in groups:
        if isinstance(group, Migrated) and taken & group.modules:
            yield Stays(group.family, group.modules, group.atoms, UNSEEN)
        else:
            yield group


NOTHING_BORN = BornValues()
