"""`CPUOffload` and `MixedPrecision` objects that become FSDP2's policies where they are made."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fsdp_migrate.analysis.values import NONE, Atom, Result, Symbol
from fsdp_migrate.findings.code import Kept, Name, Part, attribute, call, code
from fsdp_migrate.lowering.arguments.precision_fields import (
    KEPT_FIELDS,
    MIXED_PRECISION,
    POLICY,
    Fields,
    as_policy,
    casts_inputs,
    field_of_buffers,
    fields_of,
)
from fsdp_migrate.lowering.born_values import Decided, Migrated, Program, Stays
from fsdp_migrate.lowering.enum_reads import annotation_nodes
from fsdp_migrate.lowering.none_leaves import none_leaves
from fsdp_migrate.lowering.value_flow import Place, Read
from fsdp_migrate.lowering.value_reads import Act
from fsdp_migrate.lowering.wrap_site import NotNative, is_none
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.nodes import nodes_in

ON_CPU = Name(ROOT, "CPUOffloadPolicy")
NOWHERE = Name(ROOT, "OffloadPolicy")
NONES_GONE = "none of the values is None any more"
TAKEN = "a constructor call takes it that only the run knows"
HIDDEN = "what it is given comes through `*` or `**`"
# What finds the same in a policy as in the object that it was.
UNCHANGED = frozenset({Act.GIVEN, Act.TESTED, Act.PRINTED, Act.SEEN})
Made = dict[ast.Call, Place]  # the calls that make the objects of a group


@dataclass(frozen=True)
class _Kind:
    """One of the two kinds of objects."""

    family: str
    parameter: str
    policy: Callable[[Place, ast.Call], Part]  # what a call that makes one becomes
    field: Callable[[Made, str, Kept], Part | None]  # a field that is read of one
    same: frozenset[str]  # fields that policies have, too
    check: Callable[[Made], None]  # raises NotNative
    may_be_nothing: Callable[[Made], bool]  # None may be told from the others when it is a policy
    nothing: Name  # the policy that stands for none
    old: str  # the class, and what it is called in annotations from now on
    new: Name
    words: str
    stated: str  # what becomes of annotations


def decide_offload(program: Program) -> Iterator[Decided]:
    """What becomes of the `CPUOffload` objects of a program."""
    return _decide(program, _CPU_OFFLOAD)


def decide_precision(program: Program) -> Iterator[Decided]:
    """What becomes of the `MixedPrecision` objects of a program."""
    return _decide(program, _MIXED_PRECISION)


def _decide(program: Program, kind: _Kind) -> Iterator[Decided]:
    decided = list(_groups(program, kind))
    yield from decided
    stated = tuple((place, kind.new) for place in _stated(program, kind))
    if stated and not any(isinstance(group, Stays) for group in decided):
        yield Migrated(kind.family, program.modules, frozenset(), kind.stated, stated)


def _stated(program: Program, kind: _Kind) -> Iterator[Place]:
    """Where the class is named as a type."""
    modules = [program.analysis.project.modules[name] for name in sorted(program.modules)]
    annotations = annotation_nodes(modules)
    for place in program.flow.places([Symbol(kind.old)]):
        if place.node in annotations and place.module.name in program.modules:
            yield place


def _groups(program: Program, kind: _Kind) -> Iterator[Decided]:
    """The decisions, group by group."""
    for atoms in program.flow.groups(kind.family):
        if not any(isinstance(a, Result) and a.site.module in program.modules for a in atoms):
            continue
        reads = program.flow.reads(atoms)
        try:
            made = _made(program, atoms)
            kind.check(made)
            replaced = [*_replaced(program, kind, atoms, made, reads)]
        except NotNative as error:
            yield Stays(kind.family, program.modules, atoms, str(error))
            continue
        nones = none_leaves(program.flow, reads) if kind.may_be_nothing(made) else None
        replaced += [(place, call(kind.nothing)) for place in nones or ()]
        form = NONES_GONE if nones is not None else None
        yield Migrated(kind.family, program.modules, atoms, kind.words, tuple(replaced), form=form)


def _made(program: Program, atoms: frozenset[Atom]) -> Made:
    made: Made = {}
    for place in program.flow.births(atoms):
        if not isinstance(place.node, ast.Call):
            raise NotNative(f"`{place.module.text(place.node)}` is not the call of a class")
        made[place.node] = place
    return made


def _replaced(
    program: Program, kind: _Kind, atoms: frozenset[Atom], made: Made, reads: Sequence[Read]
) -> Iterator[tuple[Place, Part]]:
    """What takes the place of each expression that makes or reads one of the objects.

    Raises:
        NotNative: something is done with them that FSDP2's policies have no answer to.
    """
    for fact, argument in program.given(kind.parameter):
        if program.stops(fact, kind.parameter) and not argument.value.isdisjoint(atoms):
            raise NotNative(TAKEN)
    for node, place in made.items():
        yield place, kind.policy(place, node)
    for read in reads:
        if read.act is Act.CHECKED:
            yield from _checked(program, kind, read)
        elif read.act not in UNCHANGED and not _is_none_test(read):
            yield from _field(program, kind, atoms, made, read)


def _checked(program: Program, kind: _Kind, read: Read) -> Iterator[tuple[Place, Part]]:
    """The class that `isinstance` asks an object for."""
    asked, module = read.parent, read.place.module
    if not isinstance(asked, ast.Call) or len(asked.args) != 2:
        raise NotNative(read.said)
    if program.analysis.value(asked.func) != {Symbol("builtins.isinstance")}:
        raise NotNative(read.said)
    for node in nodes_in(asked.args[1]):
        if program.analysis.value(node) == {Symbol(kind.old)} and isinstance(node, ast.expr):
            yield Place(module, node), kind.new


def _is_none_test(read: Read) -> bool:
    """Whether an object is only asked whether it is None, which it is as little as before."""
    if not isinstance(read.parent, ast.Compare) or len(read.parent.ops) != 1:
        return False
    sides = [read.parent.left, *read.parent.comparators]
    return any(map(is_none, sides))


def _field(
    program: Program, kind: _Kind, atoms: frozenset[Atom], made: Made, read: Read
) -> Iterator[tuple[Place, Part]]:
    """What takes the place of a field that is read of an object."""
    around, module = read.parent, read.place.module
    certain = program.analysis.value(read.place.node) <= atoms | NONE and not read.inside
    if not certain or not isinstance(around, ast.Attribute) or read.act is not Act.FIELD:
        raise NotNative(read.said)
    if around.attr in kind.same and isinstance(around.ctx, ast.Load):
        return
    found = kind.field(made, around.attr, Kept(module.span(read.place.node)))
    if found is None or not isinstance(around.ctx, ast.Load):
        raise NotNative(read.said)
    yield Place(module, around), found


# ---------------------------------------------------------------------- CPU offload
def _check_offload(made: Made) -> None:
    for node in made:
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        if starred or any(keyword.arg is None for keyword in node.keywords):
            raise NotNative(HIDDEN)


def _offload(place: Place, made: ast.Call) -> Part:
    flags = [*made.args, *(keyword.value for keyword in made.keywords)]
    if not flags:
        return call(NOWHERE)
    if isinstance(flags[0], ast.Constant):
        return call(ON_CPU if flags[0].value else NOWHERE)
    return code(
        "{yes} if {test} else {no}",
        yes=call(ON_CPU),
        test=Kept(place.module.span(flags[0])),
        no=call(NOWHERE),
    )


def _offload_field(made: Made, name: str, policy: Kept) -> Part | None:
    if name != "offload_params":
        return None
    return code("isinstance({policy}, {on_cpu})", policy=policy, on_cpu=ON_CPU)


_CPU_OFFLOAD = _Kind(
    family="offload",
    parameter="cpu_offload",
    policy=_offload,
    field=_offload_field,
    same=frozenset(),
    check=_check_offload,
    may_be_nothing=bool,
    nothing=NOWHERE,
    old=f"{ROOT}.CPUOffload",
    new=NOWHERE,  # of which the other is a subclass
    words="CPUOffload(...) becomes CPUOffloadPolicy() or OffloadPolicy()",
    stated="the annotation CPUOffload becomes OffloadPolicy",
)


# ---------------------------------------------------------------------- mixed precision
def _check_precision(made: Made) -> None:
    if len({casts_inputs(fields_of(node)) for node in made}) > 1:
        raise NotNative("the mixed precisions that can come there differ in which inputs are cast")


def _precision_field(made: Made, name: str, policy: Kept) -> Part | None:
    """The dtype of buffers, which a policy doesn't have, where another is always the same."""
    same = field_of_buffers([fields_of(node) for node in made])
    return attribute(policy, same) if name == "buffer_dtype" and same else None


def _have_dtypes(made: Made) -> bool:
    return have_dtypes([fields_of(node) for node in made])


def have_dtypes(every: Sequence[Fields]) -> bool:
    """Whether the dtype of the parameters tells where buffers are cast and where they are not."""
    given = [fields.get("param_dtype") for fields in every if "buffer_dtype" in fields]
    return all(node is not None and not is_none(node) for node in given)


_MIXED_PRECISION = _Kind(
    family="precision",
    parameter="mixed_precision",
    policy=lambda place, made: as_policy(place.module, made),
    field=_precision_field,
    same=frozenset(KEPT_FIELDS),
    check=_check_precision,
    may_be_nothing=_have_dtypes,
    nothing=POLICY,
    old=MIXED_PRECISION,
    new=POLICY,
    words="MixedPrecision(...) becomes MixedPrecisionPolicy(...)",
    stated="the annotation MixedPrecision becomes MixedPrecisionPolicy",
)
