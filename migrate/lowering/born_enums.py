"""Members of an enum of FSDP1's in a program: where they are made, held and read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.values import Atom
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import Part
from fsdp_migrate.lowering.born_values import Program
from fsdp_migrate.lowering.enum_births import Birth, EnumType, birth_of, class_references
from fsdp_migrate.lowering.enum_reads import (
    NewForm,
    Readers,
    Unclear,
    annotation_nodes,
    of_class,
    quoted,
)
from fsdp_migrate.lowering.value_flow import Place, Read
from fsdp_migrate.lowering.value_reads import Act
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site


@dataclass(frozen=True)
class Family:
    """The enum, what its values are called, and the argument of a constructor that takes them."""

    name: str
    enum: EnumType
    parameter: str


class EnumValues:
    """The members of an enum in a program, but for those that go with the constructor calls.

    `written` are the nodes of the latter.
    """

    def __init__(self, program: Program, family: Family, written: frozenset[ast.AST]) -> None:
        self.program = program
        self.family = family
        self.written = written
        self.analysis = program.analysis
        self.modules = [self.analysis.project.modules[name] for name in sorted(program.modules)]

    @cached_property
    def atoms(self) -> frozenset[Atom]:
        """The values that are left."""
        flow = self.program.flow
        every = {atom for group in flow.groups(self.family.name) for atom in group}
        return frozenset(
            atom for atom in every if any(self._is_ours(place) for place in flow.places([atom]))
        )

    def _is_ours(self, place: Place) -> bool:
        return place.module.name in self.program.modules and place.node not in self.written

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The expressions that hold them."""
        return tuple(p for p in self.program.flow.places(self.atoms) if self._is_ours(p))

    @cached_property
    def births(self) -> tuple[Birth, ...]:
        """Where they are made."""
        found = (birth_of(self.analysis, self.family.enum, place) for place in self.places)
        return tuple(birth for birth in found if birth is not None)

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """What is done with them."""
        return tuple(r for r in self.program.flow.reads(self.atoms) if self._is_ours(r.place))

    @cached_property
    def calls(self) -> tuple[tuple[WrapFact, Argument], ...]:
        """The constructors that are given one of them."""
        return tuple(
            (fact, argument)
            for fact, argument in self.program.given(self.family.parameter)
            if argument.value & self.atoms and argument.node not in self.written
        )

    @property
    def sites(self) -> frozenset[Site]:
        """The places of these calls."""
        return frozenset(fact.site for fact, _ in self.calls)

    # ------------------------------------------------------------------ as names
    def readers(self) -> Iterator[NewForm]:
        """The readers that can't stay as they are, and what takes their place.

        Raises:
            Unclear: one of them can't read a name.
        """
        readers = Readers(self.analysis, self.family.enum, self.atoms)
        for read in self.reads:
            if read.act is not Act.GIVEN:
                yield from readers.rewritten(read)
            elif not any(read.place.node is a.node for _, a in self.calls):
                raise Unclear(f"`{read.place.module.text(read.parent)}` takes it")

    def classes(self, done: set[ast.AST]) -> list[NewForm]:
        """What takes the place of references to the class that are neither births nor `done`.

        Raises:
            Unclear: nothing does.
        """
        annotations = annotation_nodes(self.modules)
        enum = self.family.enum
        every = [new for module in self.modules for new in quoted(self.analysis, enum, module)]
        found = [new for new in every if new[0].node not in self.written]
        done = done | {node for birth in self.births for node in nodes_in(birth.place.node)}
        for place in class_references(self.analysis, enum, self.modules):
            if place.node not in self.written and place.node not in done:
                found += of_class(self.analysis, enum, place, annotations)
        return found

    @property
    def only_given(self) -> bool:
        """Whether nothing but constructors reads them."""
        return all(read.act is Act.GIVEN for read in self.reads)

    def named(self, numbers: bool = False) -> list[NewForm]:
        """The places where members are made, as names or as numbers."""
        return [(birth.place, birth.name(numbers)) for birth in self.births]

    def idle(self) -> tuple[tuple[Module, ast.stmt], ...]:
        """The statements that put a name, which was looked up, where it has been before."""
        found = ((b.place.module, b.place.module.parents[b.place.node], b) for b in self.births)
        return tuple(
            (module, _whole(module, parent))
            for module, parent, birth in found
            if isinstance(parent, ast.Assign)
            and parent.value is birth.place.node
            and not birth.by_number
            and birth.label is not None
            and [*map(_dumped, parent.targets)] == [_dumped(birth.label)]
        )


def _whole(module: Module, statement: ast.stmt) -> ast.stmt:
    """A statement with the `if` around it that is for nothing else."""
    around = module.parents[statement]
    while isinstance(around, ast.If) and [*around.body, *around.orelse] == [statement]:
        if any(isinstance(node, ast.Call | ast.Await) for node in nodes_in(around.test)):
            break
        statement, around = around, module.parents[around]
    return statement


def _dumped(node: ast.expr) -> str:
    """An expression without what says whether it is read or written."""
    return ast.dump(node).replace("Store()", "Load()")


def once(forms: list[NewForm]) -> tuple[tuple[Place, Part], ...]:
    """The new forms, one for a place."""
    return tuple({place.node: (place, part) for place, part in forms}.values())
