"""`BackwardPrefetch` where it is born: FSDP2 has no use for it, so it is a plain name from then on.

What only computed it for a constructor goes with the argument.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.lowering.born_enums import EnumValues, Family, once
from fsdp_migrate.lowering.born_values import Decided, Migrated, Program, Stays
from fsdp_migrate.lowering.enum_births import PREFETCH
from fsdp_migrate.lowering.enum_reads import Unclear
from fsdp_migrate.syntax.nodes import nodes_in

PARAMETER = "backward_prefetch"
FAMILY = Family("prefetch", PREFETCH, PARAMETER)


def decide(program: Program) -> Iterable[Decided]:
    """What becomes of the ways to prefetch in a program."""
    found = EnumValues(program, FAMILY, frozenset(_written(program)))
    facts = [fact for fact, argument in program.given(PARAMETER) if argument.value & found.atoms]
    sites = frozenset(fact.site for fact in facts)
    wraps = program.analysis.wraps.values()
    if not found.births or not any(fact.module.name in program.modules for fact in wraps):
        return
    try:
        if any(program.stops(fact, PARAMETER) for fact in facts):
            raise Unclear("the constructor that it goes to takes it as it is")
        read = list(found.readers())
        classes = found.classes({place.node for place, _ in read})
        yield Migrated(
            FAMILY.name,
            program.modules,
            found.atoms,
            "BackwardPrefetch becomes the names of its members, without effect in FSDP2",
            replaced=once([*found.named(), *read, *classes]),
            dropped=found.idle(),
            places=frozenset(place.node for place in found.places),
        )
    except Unclear as error:
        yield Stays(FAMILY.name, program.modules, found.atoms, str(error), sites)


def _written(program: Program) -> Iterator[ast.AST]:
    """The nodes that go with the argument, which has no counterpart."""
    for fact, argument in program.given(PARAMETER):
        if argument.node is not None:
            inside = set(nodes_in(argument.node))
            born = {p.node for p in program.flow.births(argument.value)}
            if (fact.direct and not program.stops(fact, PARAMETER)) or born & inside:
                yield from inside
