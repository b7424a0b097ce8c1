"""Where values of FSDP1's types are born, which expressions hold them, and what is done there.

A `ShardingStrategy` member, a `MixedPrecision(...)` or a wrap policy can be migrated where it is
born if everything that reads it is known: what it is compared with, printed as, handed to.  The
answer is for a set of values at once, those that meet in one variable; what is not understood is
said, never left out.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import (
    Atom,
    Container,
    Func,
    Instance,
    Partial,
    Result,
    Symbol,
    ordered,
)
from fsdp_migrate.lowering.value_reads import Act, Reads
from fsdp_migrate.syntax.fsdp1_names import CONFIGS, POLICIES, ROOT
from fsdp_migrate.syntax.module import Module

PRIVATE = frozenset({"_module_wrap_policy", "_or_policy"})
# The families: values of one kind, by the dotted names that make them.
FAMILIES: Mapping[str, frozenset[str]] = {
    "strategy": frozenset({f"{ROOT}.ShardingStrategy"}),
    "prefetch": frozenset({f"{ROOT}.BackwardPrefetch"}),
    "precision": frozenset({f"{ROOT}.MixedPrecision"}),
    "offload": frozenset({f"{ROOT}.CPUOffload"}),
    "state_dict_type": frozenset({f"{ROOT}.StateDictType"}),
    "state_dict_config": frozenset(f"{ROOT}.{c}" for c in CONFIGS if c.endswith("DictConfig")),
    "policy": frozenset(
        f"{ROOT}.wrap.{p}" for p in POLICIES | {"_module_wrap_policy", "_or_policy"}
    ),
}
_FAMILY = {name: family for family, names in FAMILIES.items() for name in names}
MEMBERS = "__members__"


@dataclass(frozen=True, eq=False)
class Place:
    """An expression that can hold a value, in its file."""

    module: Module
    node: ast.expr


@dataclass(frozen=True, eq=False)
class Read:
    """What is done with a value at a place.

    `parent` is the node of which the place is a part there.  `inside` says that the value isn't
    there itself, but in a container or an object that is.
    """

    place: Place
    act: Act
    parent: ast.AST
    why: str = ""  # what isn't known, where the act is `Act.UNKNOWN`
    inside: bool = False

    @property
    def said(self) -> str:
        """What is done, in words for a message."""
        module = self.place.module
        read = isinstance(self.parent, ast.Attribute) and self.act is Act.FIELD
        what = module.text(self.parent if read else self.place.node)
        where = f"{module.path.name}:{self.place.node.lineno}"
        return f"`{what}` ({where}): {self.why or self.act.value}"


class ValueFlow:
    """All places of a program by the values that they can hold."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self._reads = Reads(analysis)

    @cached_property
    def _places(self) -> Mapping[Atom, tuple[Place, ...]]:
        found: dict[Atom, list[Place]] = defaultdict(list)
        for module in self.analysis.project.modules.values():
            for node in module.parents:
                if not isinstance(node, ast.expr) or _is_stored(node):
                    continue
                for atom in self.analysis.value(node):
                    if isinstance(atom, _FOLLOWED) and _is_of_interest(atom):
                        found[atom].append(Place(module, node))
        return {atom: tuple(places) for atom, places in found.items()}

    @cached_property
    def _around(self) -> Mapping[Atom, frozenset[Atom]]:
        """The containers and objects that hold a value themselves, by the value."""
        found: dict[Atom, set[Atom]] = defaultdict(set)
        for holder in self._places:
            if isinstance(holder, Container | Instance):
                for part in self.analysis.parts(holder):
                    found[part].add(holder)
        return {part: frozenset(holders) for part, holders in found.items()}

    # ------------------------------------------------------------------ families
    def family(self, atom: Atom) -> str | None:
        """The family that a value belongs to; a class is no value of its own."""
        match atom:
            case Symbol(name=name) if name in _FAMILY:
                return "policy" if _FAMILY[name] == "policy" else None
            case Symbol(name=name):
                return _FAMILY.get(name.rpartition(".")[0]) if not name.endswith(MEMBERS) else None
            case Result(symbol=symbol):
                return _FAMILY.get(symbol.removesuffix(f".{MEMBERS}"))
            case Partial(site=site):
                given, _ = self.analysis.calls.get(site, ([], {}))
                inner = given[0] if given else frozenset()
                return "policy" if any(self.family(a) == "policy" for a in inner) else None
        return None

    def groups(self, family: str) -> tuple[frozenset[Atom], ...]:
        """The values of a family, those together that one place can hold."""
        atoms = [a for a in ordered(frozenset(self._places)) if self.family(a) == family]
        group: dict[Atom, set[Atom]] = {atom: {atom} for atom in atoms}
        for atom in atoms:
            for place in self._places[atom]:
                for other in self.analysis.value(place.node):
                    if other in group and group[other] is not group[atom]:
                        merged = group[atom] | group[other]
                        group.update(dict.fromkeys(merged, merged))
        unique = {id(each): each for each in group.values()}
        return tuple(frozenset(each) for each in unique.values())

    # ------------------------------------------------------------------ one set of values
    def places(self, atoms: Iterable[Atom]) -> Iterator[Place]:
        """The expressions that can hold one of `atoms`, each once."""
        seen: set[ast.expr] = set()
        for atom in ordered(frozenset(atoms)):
            for place in self._places.get(atom, ()):
                if place.node not in seen:
                    seen.add(place.node)
                    yield place

    def births(self, atoms: Iterable[Atom]) -> Iterator[Place]:
        """The expressions that make one of `atoms`: a member of an enum, a call, a look-up."""
        wanted = frozenset(atoms)
        for place in self.places(wanted):
            if any(self._is_birth(place, a) for a in self.analysis.value(place.node) & wanted):
                yield place

    def _is_birth(self, place: Place, atom: Atom) -> bool:
        node = place.node
        match atom:
            case Symbol(name=name):
                return isinstance(node, ast.Attribute) and Symbol(
                    name.rpartition(".")[0]
                ) in self.analysis.value(node.value)
            case Result(site=site) | Partial(site=site):
                made = isinstance(node, ast.Call | ast.Subscript)
                return made and place.module.site(node) == site
        return False

    def holders(self, atoms: Iterable[Atom]) -> frozenset[Atom]:
        """The containers and objects that hold one of `atoms`, directly or deeper inside."""
        found: set[Atom] = set()
        todo = list(atoms)
        while todo:
            for holder in self._around.get(todo.pop(), ()):
                if holder not in found:
                    found.add(holder)
                    todo.append(holder)
        return frozenset(found)

    def reads(self, atoms: Iterable[Atom]) -> tuple[Read, ...]:
        """What is done with `atoms` at every place, and with what holds them.

        A place from which the value only moves on is not among them, for the next one is.
        """
        wanted = frozenset(atoms)
        found = list(self._done(self.places(wanted), self._reads.act, inside=False))
        within = self.places(self.holders(wanted))
        return (*found, *self._done(within, self._reads.act_on_holder, inside=True))

    def _done(
        self,
        places: Iterable[Place],
        act: Callable[[Module, ast.expr], tuple[Act, ast.AST, str]],
        inside: bool,
    ) -> Iterator[Read]:
        for place in places:
            what, parent, why = act(place.module, place.node)
            if what is not Act.MOVED:
                yield Read(place, what, parent, why, inside)


@lru_cache(maxsize=2)
def flow_of(analysis: Analysis) -> ValueFlow:
    """The value flow of a program, worked out once."""
    return ValueFlow(analysis)


_FOLLOWED = (Symbol, Result, Partial, Func, Container, Instance)


def _is_of_interest(atom: Atom) -> bool:
    match atom:
        case Symbol(name=name) | Result(symbol=name):
            return name.startswith(f"{ROOT}.")
    return True


def _is_stored(node: ast.expr) -> bool:
    """Whether a value is put there, not read."""
    return isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
