"""Sharding strategies where they are born: members of an enum that become labels.

Either all that takes them are constructors, and none needs a mesh of its own: then a strategy is
the value of `reshard_after_forward`.  Or it becomes the name of the member, a string, which all
readers compare and print as before, and constructors look up.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from fsdp_migrate.analysis.definitions import removable
from fsdp_migrate.analysis.values import NONE, Const, Unknown, Value
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import Literal
from fsdp_migrate.lowering.born_enums import EnumValues, Family, once
from fsdp_migrate.lowering.born_values import BornValues, Decided, Migrated, Program, Stays
from fsdp_migrate.lowering.enum_births import STRATEGY, members_of
from fsdp_migrate.lowering.enum_reads import NewForm, Unclear
from fsdp_migrate.lowering.sharding_function import (
    HYBRID,
    KEEP_UNSHARDED,
    MEMBERS,
    ON_WORLD,
    Rows,
    numbered,
    rows_of,
)
from fsdp_migrate.lowering.strategy_tables import Table, table_of
from fsdp_migrate.lowering.value_flow import Place
from fsdp_migrate.lowering.wrap_site import NotNative
from fsdp_migrate.lowering.written_strategies import TYPE, written_members, written_strategy
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

PARAMETER = "sharding_strategy"
FAMILY = Family("strategy", STRATEGY, PARAMETER)
# How the analysis says that nothing in the program makes a value.
OUTSIDE = ("passed from outside, which nothing here does", "set by `setattr`")
FROM_OUTSIDE = "; who passes one in from outside of the program gives its name, too"
NOT_PASSED = "which nothing here passes"


@dataclass(frozen=True)
class StrategyForm:
    """What the strategies of a program have become."""

    rows: Rows
    calls: frozenset[Site]  # the constructors that are given one
    values: bool = False  # they are values of `reshard_after_forward`
    looked_up: Mapping[ast.expr, ast.expr] = field(default_factory=dict)  # labels, by argument
    is_closed: bool = False  # nothing but the program says which there are


def form_at(born: BornValues, fact: WrapFact) -> StrategyForm | str | None:
    """What the strategy of a call has become, or why it stays; None if it is written there."""
    argument = fact.arguments.get(PARAMETER)
    group = born.of(fact.module, argument.value, FAMILY.name) if argument is not None else None
    if isinstance(group, Migrated):
        form = group.form
        assert isinstance(form, StrategyForm)
        assert argument is not None
        return _where_called(form, argument) if fact.site in form.calls else None
    if isinstance(group, Stays) and fact.site in group.calls:
        return group.words
    return None


def _where_called(form: StrategyForm, argument: Argument) -> StrategyForm:
    """`form` with the strategies that a call can be given where it stands, as below a test."""
    here = written_members(argument.value)
    if not form.is_closed or not here or not here < form.rows.members:
        return form
    if len(here) > 1 and not here <= ON_WORLD:
        return form  # one function gives the mesh for all
    rows = tuple(row for row in form.rows.rows if row[1] in here)
    default = form.rows.default if form.rows.default in here else None
    return replace(form, rows=Rows(rows, default))


def members_at(born: BornValues, fact: WrapFact) -> frozenset[str]:
    """The strategies that a call can have, where they have become labels."""
    form = form_at(born, fact)
    return form.rows.members if isinstance(form, StrategyForm) else frozenset()


def decide(program: Program) -> Iterable[Decided]:
    """What becomes of the strategies of a program."""
    found = EnumValues(program, FAMILY, frozenset(_written(program)))
    if not found.calls:
        return
    try:
        yield _migrated(found)
    except Unclear as error:
        yield Stays(FAMILY.name, program.modules, found.atoms, str(error), found.sites)


# ---------------------------------------------------------------------- what is written at a call
def _written(program: Program) -> Iterator[ast.AST]:
    """The nodes that go with the constructors that they are written for."""
    for fact, argument in program.given(PARAMETER):
        if argument.node is not None:
            yield from _written_at(program, fact, argument.node, argument)


def _written_at(
    program: Program, fact: WrapFact, node: ast.expr, argument: Argument
) -> set[ast.AST]:
    inside = set(nodes_in(node))
    births = {p.node for p in program.flow.births(argument.value)}
    if program.stops(fact, PARAMETER) or not fact.direct:
        return inside if births & inside else set()
    members = written_members(argument.value)
    try:
        written = written_strategy(program.analysis, fact.module, node, members)
    except NotNative:
        return set()
    for expression, _ in written.replaced:
        inside |= set(nodes_in(expression))
    for statement in written.absorbed:
        if isinstance(statement, ast.FunctionDef) or not removable(
            program.analysis, fact.module, statement, inside
        ):
            return set()
        inside |= set(nodes_in(statement))
    return inside


# ---------------------------------------------------------------------- the decision
def _migrated(found: EnumValues) -> Migrated:
    """The strategies as labels, and their readers.

    Raises:
        Unclear: a reader has no form for that.
    """
    is_open = [fact for fact, argument in found.calls if _is_open(found, fact, argument)]
    read = list(found.readers())
    classes = found.classes({place.node for place, _ in read})
    # A variable of a function has what is assigned to it; a parameter or a field may have more.
    stated = [new for new in classes if _is_of_variable(new[0])]
    is_stated = len(stated) < len(classes)
    rows = rows_of(_possible(found, MEMBERS if is_open or is_stated else _members(found)))
    values = found.only_given and not is_stated and rows.members <= ON_WORLD
    table = table_of(found) if not (is_open or classes or values) else None
    if table is not None:
        return _function(found, table)
    numbers = not classes and _go_by_number(found)
    if values:
        classes = [(_annotation(place), TYPE) for place, _ in stated]
    rows = numbered(rows) if numbers and not values else rows
    is_written = all(birth.label is None for birth in found.births)  # and none is looked up
    born = _values(found) if values else found.named(numbers)
    words = "the numbers of its members" if numbers else "the names of its members"
    words = "values of reshard_after_forward" if values else words
    return Migrated(
        FAMILY.name,
        found.program.modules,
        found.atoms,
        f"ShardingStrategy becomes {words}{FROM_OUTSIDE if is_open else ''}",
        replaced=once([*born, *read, *classes]),
        places=frozenset(place.node for place in found.places),
        dropped=() if values or numbers else found.idle(),
        form=StrategyForm(
            rows,
            found.sites,
            values,
            is_closed=is_written and not (is_open or is_stated or values),
        ),
    )


def _function(found: EnumValues, table: Table) -> Migrated:
    """A table of strategies as the function that constructors call."""
    (target,) = table.statement.targets
    return Migrated(
        FAMILY.name,
        found.program.modules,
        found.atoms,
        f"the table `{table.module.text(target)}` of strategies becomes a function of its keys",
        replaced=table.lists,
        dropped=((table.module, table.statement),),
        places=frozenset(place.node for place in found.places),
        form=StrategyForm(table.rows, found.sites, looked_up=table.looked_up),
    )


def _annotation(place: Place) -> Place:
    """The whole annotation that `place` is in."""
    statement = place.module.statement(place.node)
    assert isinstance(statement, ast.AnnAssign)
    return Place(place.module, statement.annotation)


def _is_of_variable(place: Place) -> bool:
    """Whether a class is named in the annotation of a variable, and not in that of a field."""
    statement = place.module.statement(place.node)
    return (
        isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and place.node in nodes_in(statement.annotation)
        and not isinstance(place.module.parents[statement], ast.ClassDef)
    )


def _is_open(found: EnumValues, fact: WrapFact, argument: Argument) -> bool:
    """Whether a constructor may be given a strategy that is chosen outside of the program."""
    if found.program.stops(fact, PARAMETER):
        raise Unclear("the constructor that it goes to takes it as it is")
    if not fact.direct or argument.node is None:
        raise Unclear("it reaches the constructor through a partial, `wrap` or `**`")
    others = argument.value - found.atoms - NONE - _refused(argument.value)
    for atom in others:
        if not isinstance(atom, Unknown) or not _is_outside(atom.reason):
            text = fact.module.text(argument.node)
            reason = atom.reason if isinstance(atom, Unknown) else "it is something else"
            raise Unclear(f"`{text}` is known only at run time: {reason}")
    return bool(others)


def _refused(value: Value) -> Value:
    """Names, which FSDP1 takes for no strategies: they stand there until they are looked up."""
    return frozenset(a for a in value if isinstance(a, Const) and isinstance(a.value, str))


def _is_outside(reason: str) -> bool:
    return reason in OUTSIDE or reason.endswith(NOT_PASSED)


def _members(found: EnumValues) -> frozenset[str]:
    """The strategies that there can be; None is the default for a constructor."""
    members = members_of(STRATEGY, found.atoms, found.births)
    optional = any(argument.value & NONE for _, argument in found.calls)
    return members | {"FULL_SHARD"} if optional else members


def _possible(found: EnumValues, members: Iterable[str]) -> frozenset[str]:
    """Those of `members` that are written, or that FSDP1 doesn't refuse.

    It takes no hybrid one without a policy or a group.
    """
    every = frozenset(members)
    written = {birth.member for birth in found.births}
    refused = all(
        not fact.opaque
        and all(
            name not in fact.arguments or fact.arguments[name].value == NONE
            for name in ("auto_wrap_policy", "process_group", "device_mesh")
        )
        for fact, _ in found.calls
    )
    return every - (HYBRID - written) if refused else every


def _go_by_number(found: EnumValues) -> bool:
    """Whether strategies are chosen by their numbers, and nothing else asks for their names."""
    births = found.births
    if any(b.label is not None and b.by_number for b in births):
        known = all(b.by_number or b.member is not None for b in births)
        if known and found.only_given:
            return True
        for birth in births:
            if birth.by_number and found.analysis.value(birth.label) & found.atoms:
                raise Unclear("it is made of its number, or of itself")
    return False


def _values(found: EnumValues) -> list[NewForm]:
    """Strategies as values of `reshard_after_forward`."""
    return [
        (birth.place, Literal(False) if birth.member in KEEP_UNSHARDED else Literal(None))
        for birth in found.births
    ]
