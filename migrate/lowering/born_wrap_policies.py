"""Wrap policies that are carried as values: classes, predicates, or functions that list the units.

All that a policy can be at one constructor is of one form: the classes of the units where each is
about classes; else what tells a unit; else a function that is given the model and lists them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal as Choice

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import NONE, Atom, Partial, Result, Symbol
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import (
    Code,
    Kept,
    Keyword,
    Name,
    Part,
    call,
    code,
    either,
    local_variable,
)
from fsdp_migrate.lowering.born_values import Decided, Migrated, Program, Stays
from fsdp_migrate.lowering.class_nesting import may_nest
from fsdp_migrate.lowering.condition import UNIT, Condition, named_classes
from fsdp_migrate.lowering.enum_reads import annotation_nodes
from fsdp_migrate.lowering.none_leaves import none_leaves
from fsdp_migrate.lowering.policy_births import (
    Born,
    born_policy,
    classes_of,
    is_union_of_list,
)
from fsdp_migrate.lowering.policy_lists import (
    asked_in_lists,
    check_items,
    joined,
    union_of_predicates,
)
from fsdp_migrate.lowering.policy_unions import is_asked
from fsdp_migrate.lowering.predicates import lambda_condition
from fsdp_migrate.lowering.size_policy import SIZE, BySize, by_size_function
from fsdp_migrate.lowering.unit_functions import BY_SIZE_BESIDE_WHOLE, UNITS_BY_SIZE
from fsdp_migrate.lowering.value_flow import Place, Read
from fsdp_migrate.lowering.value_reads import Act
from fsdp_migrate.lowering.wrap_policy import ALL, ALWAYS, MODULE_WRAP, OR
from fsdp_migrate.lowering.wrap_site import NotNative
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

FAMILY = "policy"
PARAMETER = "auto_wrap_policy"
CHECKPOINTING = Symbol(
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.apply_activation_checkpointing"
)
MODEL = local_variable("model", beside=())
OTHERS = local_variable("_", beside=())  # what the function by size is told besides
PARTIAL = Name("functools", "partial")
UNCHANGED = frozenset({Act.GIVEN, Act.TESTED, Act.PRINTED, Act.SEEN})
Kind = Choice["classes", "predicate", "units"]
WORDS: dict[Kind, str] = {
    "classes": "wrap policies become the classes of the units",
    "predicate": "wrap policies become functions that tell a unit",
    "units": "wrap policies become functions that list a model's units",
}


@dataclass(frozen=True)
class PolicyForm:
    """What the policies of a group have become."""

    kind: Kind
    classes: frozenset[Site]
    libraries: frozenset[str]
    open: bool
    nested: bool
    root_matches: bool
    may_be_none: bool
    by_size: Code | None = None  # the function that lists units by their size, if some do


def decide_policies(program: Program) -> Iterator[Decided]:
    """What becomes of the wrap policies of a program that aren't written for one constructor."""
    decided = list(_groups(program))
    yield from decided
    forms = [group.form for group in decided if isinstance(group, Migrated)]
    classes = all(isinstance(form, PolicyForm) and form.kind == "classes" for form in forms)
    stated = tuple((place, code("tuple")) for place in _stated(program))
    if stated and forms and classes and len(forms) == len(decided):
        words = "the annotation ModuleWrapPolicy becomes tuple"
        yield Migrated(FAMILY, program.modules, frozenset(), words, stated)


def _groups(program: Program) -> Iterator[Decided]:
    lists = asked_in_lists(program.flow, _written_out(program))
    for atoms in joined(program.flow.groups(FAMILY), lists):
        group = _Group(program, atoms, atoms & lists.keys())
        asked = not group.unions and is_asked(program.flow, atoms)
        if asked or not group.births or not group.is_ours:
            continue  # what `_or_policy` asks becomes a part of that, or stays with it
        try:
            yield group.migrated()
        except NotNative as error:
            yield Stays(FAMILY, program.modules, atoms, str(error))


def _written_out(program: Program) -> Iterator[ast.AST]:
    """Where policies are made that ask those of a list which is written out there."""
    for place in program.flow.places([Symbol(OR)]):
        made = place.module.parents[place.node]
        if isinstance(made, ast.expr) and not is_union_of_list(
            program.analysis, place.module, made
        ):
            yield made


def _stated(program: Program) -> Iterator[Place]:
    """Where the class of policies is named as a type."""
    modules = [program.analysis.project.modules[name] for name in sorted(program.modules)]
    annotations = annotation_nodes(modules)
    for place in program.flow.places([Symbol(MODULE_WRAP)]):
        if place.node in annotations and place.module.name in program.modules:
            yield place


class _Group:
    """Policies that meet in one variable."""

    def __init__(
        self, program: Program, atoms: frozenset[Atom], unions: frozenset[Atom] = frozenset()
    ) -> None:
        self.program = program
        self.unions = unions  # of those that ask the others in a list
        self.analysis = program.analysis
        self.atoms = atoms
        self.births = tuple(self._births())
        self.calls = [(f, a) for f, a in program.given(PARAMETER) if a.value & atoms]

    def _births(self) -> Iterator[Place]:
        seen: set[ast.AST] = set()
        for place in self.program.flow.places(self.atoms):
            if place.node not in seen and self._is_birth(place):
                seen.add(place.node)
                yield place

    def _is_birth(self, place: Place) -> bool:
        node = place.node
        made = [
            a for a in self.analysis.value(node) & self.atoms if isinstance(a, Partial | Result)
        ]
        if isinstance(node, ast.Call):
            return any(place.module.site(node) == a.site for a in made)
        named = self.analysis.value(node) & {Symbol(SIZE), Symbol(ALWAYS)}
        return bool(named) and _is_imported(place) and not _is_called(place)

    @property
    def is_ours(self) -> bool:
        """Whether the files make them, and some constructor can't do with what is written there."""
        if not {p.module.name for p in self.births} <= self.program.modules:
            return False
        if not self.calls:  # nobody gets them, or something else than FSDP does
            return not self.program.flow.reads(self.atoms)
        return not all(_is_written(self, argument) for _, argument in self.calls)

    def migrated(self) -> Migrated:
        """The policies in their new form, and their readers.

        Raises:
            NotNative: one has no such form, or something else is done with it.
        """
        for fact, argument in self.calls:
            self._check(fact, argument)
        born = [
            (place, born_policy(self.analysis, place.module, place.node)) for place in self.births
        ]
        known = [(place, policy) for place, policy in born if policy is not None]
        if len(known) != len(born):
            raise NotNative("one of the wrap policies is of another kind")
        kind = _kind([policy for _, policy in known])
        for place, policy in known:
            if policy.union is not None:
                self._check_union(place, policy.union, kind)
        reads = self.program.flow.reads(self.atoms)
        nones = none_leaves(self.program.flow, reads) if kind == "classes" else None
        form = self._form(kind, [policy for _, policy in known], nones is None)
        replaced = [_new(self.analysis, policy, form, place) for place, policy in known]
        for read in reads:
            replaced += self._reader(read, kind)
        replaced += [(place, code("()")) for place in nones or ()]
        return Migrated(
            FAMILY,
            self.program.modules,
            self.atoms,
            WORDS[kind],
            replaced=tuple(replaced),
            dropped=tuple((p.module, gone) for p, b in known for gone in b.through),
            places=frozenset(p.node for p in self.births),
            form=form,
            defined=tuple((p, form.by_size) for p, b in known if b.by_size and form.by_size),
        )

    def _check(self, fact: WrapFact, argument: Argument) -> None:
        if self.program.stops(fact, PARAMETER) or not fact.direct or argument.node is None:
            raise NotNative("a constructor call takes it that only the run knows")
        if argument.value - self.atoms - NONE:
            raise NotNative(f"`{fact.module.text(argument.node)}` may be something else, too")

    def _check_union(self, place: Place, node: ast.Call, kind: Kind) -> None:
        if kind == "units":
            raise NotNative("a wrap policy that counts parameters is one of several in a list")
        check_items(self.analysis, place.module, node, self.atoms)

    def _reader(self, read: Read, kind: Kind) -> Iterable[tuple[Place, Part]]:
        if read.act is Act.GIVEN:
            if not any(read.place.node is a.node for _, a in self.calls):
                raise NotNative(read.said)
            return ()
        if read.act in UNCHANGED or _is_none_test(read) or self._is_union(read):
            return ()
        return (self._checkpointing(read, kind),)

    def _is_union(self, read: Read) -> bool:
        """Whether a list of policies is given to the one that asks them."""
        made = read.parent
        return isinstance(made, ast.Call) and not self.unions.isdisjoint(self._value(made))

    def _checkpointing(self, read: Read, kind: Kind) -> tuple[Place, Part]:
        """Activation checkpointing by the policy, which can ask a function as well."""
        made, module, node = read.parent, read.place.module, read.place.node
        known = isinstance(made, ast.Call) and self.analysis.value(made.func) == {CHECKPOINTING}
        by_name = isinstance(made, ast.Call) and any(
            k.arg == PARAMETER and k.value is node for k in made.keywords
        )
        certain = self.analysis.value(node) <= self.atoms
        if not isinstance(made, ast.Call) or not (known and by_name and certain) or kind == "units":
            raise NotNative(read.said)
        policy: Part = Kept(module.span(node))
        if kind == "classes":
            policy = code("lambda {m}: isinstance({m}, {policy})", m=UNIT, policy=policy)
        others = [k for k in made.keywords if k.arg not in (PARAMETER, "check_fn", None)]
        if len(others) + 1 < sum(k.arg != "check_fn" for k in made.keywords) or len(made.args) > 2:
            raise NotNative(read.said)
        given = [Kept(module.span(a)) for a in made.args]
        named = [Keyword(str(k.arg), Kept(module.span(k.value))) for k in others]
        callee = Kept(module.span(made.func))
        return Place(module, made), call(callee, *given, *named, Keyword("check_fn", policy))

    def _form(self, kind: Kind, born: Sequence[Born], may_be_none: bool) -> PolicyForm:
        classes = [atom for policy in born for item in policy.classes for atom in self._value(item)]
        own, libraries = named_classes(frozenset(classes))
        is_open = any(policy.is_open(self.analysis) for policy in born)
        nested = is_open or may_nest(self.analysis, own, libraries)
        none = may_be_none and any(a.value & NONE for _, a in self.calls)
        condition = Condition(ALL.test, nested, own, libraries, open=is_open)
        roots = any(condition.may_hold_for(self.analysis, fact.inner) for fact, _ in self.calls)
        root_matches = roots or not self.calls
        by_size = self._by_size() if any(policy.by_size for policy in born) else None
        return PolicyForm(kind, own, libraries, is_open, nested, root_matches, none, by_size)

    def _by_size(self) -> Code:
        """The function that lists units by their size, for the files that name it."""
        return by_size_function(self.analysis, [fact for fact, _ in self.calls])

    def _value(self, node: ast.expr) -> frozenset[Atom]:
        return self.analysis.value(node)


def _is_written(group: _Group, argument: Argument) -> bool:
    """Whether what a constructor is given is what it says there itself, and there alone."""
    births = {place.node for place in group.births}
    union = argument.node is not None and bool(group.unions & argument.value)
    return argument.node in births and not union


def _is_imported(place: Place) -> bool:
    node = place.node
    if isinstance(node, ast.Attribute):
        return True
    scope = scope_of(place.module, node) if isinstance(node, ast.Name) else None
    bound = bindings(scope, node.id) if scope is not None and isinstance(node, ast.Name) else ()
    return any(isinstance(b, ast.alias) for b in bound)


def _is_called(place: Place) -> bool:
    """Whether the name is only part of a call: of the function itself, or of a partial of it."""
    parent = place.module.parents[place.node]
    return isinstance(parent, ast.Call) and (
        parent.func is place.node or parent.args[:1] == [place.node]
    )


def _is_none_test(read: Read) -> bool:
    if not isinstance(read.parent, ast.Compare) or len(read.parent.ops) != 1:
        return False
    sides = [read.parent.left, *read.parent.comparators]
    return any(isinstance(side, ast.Constant) and side.value is None for side in sides)


def _kind(born: Sequence[Born]) -> Kind:
    if all(policy.by_classes for policy in born):
        return "classes"
    if any(policy.by_size is not None or policy.always for policy in born):
        return "units"
    return "predicate"


def _new(analysis: Analysis, policy: Born, form: PolicyForm, place: Place) -> tuple[Place, Part]:
    """What a policy becomes where it is made, and which expression that takes the place of."""
    module, kind = place.module, form.kind
    if policy.by_size is not None:
        return _listing_by_size(place, policy.by_size)
    if kind == "classes":
        return place, classes_of(module, policy)
    if kind == "predicate" and policy.predicate is not None:
        return place, Kept(module.span(policy.predicate))
    test = _test(analysis, module, policy)
    if kind == "predicate":
        return place, code("lambda {m}: {test}", m=UNIT, test=test)
    listed = code(
        "[{m} for {m} in reversed(list({model}.modules())) if {m} is not {model} and {test}]",
        model=MODEL,
        m=UNIT,
        test=test,
    )
    if not form.nested and not form.root_matches:
        listed = code(
            "[{m} for {m} in {model}.modules() if {test}]", model=MODEL, m=UNIT, test=test
        )
    if form.by_size == BY_SIZE_BESIDE_WHOLE:
        return place, code(
            "lambda {model}, **{others}: {listed}", model=MODEL, others=OTHERS, listed=listed
        )
    return place, code("lambda {model}: {listed}", model=MODEL, listed=listed)


def _listing_by_size(place: Place, sized: BySize) -> tuple[Place, Part]:
    """The function that lists units by their size, as a partial that knows the size."""
    made = place.node
    if isinstance(made, ast.Call) and sized.smallest is not None and made.args:
        return Place(place.module, made.args[0]), UNITS_BY_SIZE
    return place, call(PARTIAL, UNITS_BY_SIZE, sized.keyword(place.module))


def _test(analysis: Analysis, module: Module, policy: Born) -> Part:
    """What asks whether a module is a unit."""
    if policy.union is not None:
        return union_of_predicates(module, policy.union)
    if policy.parts:
        return either(*(_test(analysis, module, part) for part in policy.parts))
    if policy.listed is not None:
        listed = policy.classes
        single = len(listed) == 1 and not isinstance(listed[0], ast.Starred)
        asked = Kept(module.span(listed[0])) if single else classes_of(module, policy)
        return code("isinstance({m}, {classes})", m=UNIT, classes=asked)
    if policy.predicate is None:
        return ALL.test
    if isinstance(policy.predicate, ast.Lambda):
        found = lambda_condition(analysis, module, policy.predicate)
        if found is None:
            raise NotNative("the predicate of a wrap policy binds a variable on the way")
        return found.test
    return code("{asked}({m})", asked=Kept(module.span(policy.predicate)), m=UNIT)
