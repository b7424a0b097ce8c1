"""`StateDictType` as a value that a program carries: its plain name as a string, where all that
reads it is known.

Contexts that go leave tests and tables behind, `if cfg.kind == StateDictType.FULL_STATE_DICT`, in
which a string does the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from fsdp_migrate.analysis.values import Atom
from fsdp_migrate.findings.code import Code, Kept, Literal, Part, code
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.lowering.value_flow import Place, Read, ValueFlow, flow_of
from fsdp_migrate.lowering.value_reads import Act
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.values import library_name
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module

FAMILY = "state_dict_type"
TYPE = f"{ROOT}.StateDictType"
LOCAL = "LOCAL_STATE_DICT"
AS_BEFORE = (Act.COMPARED, Act.KEYED, Act.PRINTED, Act.SEEN, Act.TESTED)


@dataclass(frozen=True)
class Types:
    """What becomes of the values: edits by file, or why they stay."""

    edits: tuple[tuple[Module, Edit], ...] = ()
    in_contexts: frozenset[ast.AST] = frozenset()  # members that a context which stays is given
    why: str = ""  # what isn't understood, and where
    at: Place | None = None

    @property
    def as_strings(self) -> bool:
        """Whether the values become strings."""
        return not self.why


@lru_cache(maxsize=2)
def types_of(facts: Facts) -> Types:
    """What becomes of the types of state dicts that a program carries."""
    if facts.options.style == "shim":
        return Types(why="the style keeps FSDP1's shape")
    found = _Types(facts)
    try:
        return Types(tuple(dict.fromkeys(found.edits())), frozenset(found.in_contexts))
    except _Stays as stays:
        return Types(why=stays.why, at=stays.at)


def why_type_stays(facts: Facts) -> str:
    """What needs the enum, in words that follow a message; nothing where a context does."""
    found = types_of(facts)
    if found.at is None:
        return ""
    where = f"{found.at.module.path.name}:{found.at.node.lineno}"
    return f".  StateDictType stays an enum: {found.why} ({where})"


class _Stays(Exception):
    """A place that no string does for."""

    def __init__(self, at: Place, why: str) -> None:
        self.at, self.why = at, why


class _Types:
    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.flow: ValueFlow = flow_of(facts.analysis)
        groups = self.flow.groups(FAMILY)
        self.atoms: frozenset[Atom] = frozenset().union(*groups)
        self.in_contexts: set[ast.AST] = set()

    def edits(self) -> Iterator[tuple[Module, Edit]]:
        """The edits of all places that stay; raises where one needs FSDP1's enum."""
        births = {place.node: place for place in self.flow.births(self.atoms)}
        reads = [read for read in self.flow.reads(self.atoms) if not self._goes(read.place)]
        reads = [read for read in reads if not self._is_said(read)]
        given = {read.place.node for read in reads if read.act is Act.GIVEN}
        self.in_contexts |= given & births.keys()
        for node, place in births.items():
            if node not in given and not self._goes(place):
                yield from self._edit(place, self._born(place))
        for read in reads:
            if read.place.node not in self.in_contexts:
                yield from self._read(read)
        for module, node in self._classes():
            yield from self._class(Place(module, node))

    def _is_said(self, read: Read) -> bool:
        """Whether a context that goes is given the value: it is said to the calls inside."""
        plans = self.facts.modes.plans.values()
        return read.act is Act.GIVEN and any(p.native and p.call is read.parent for p in plans)

    def _goes(self, place: Place) -> bool:
        return place.node in self.facts.removed.get(place.module.name, ())

    def _edit(self, place: Place, new: Part) -> Iterator[tuple[Module, Edit]]:
        if not place.module.given or not place.module.rewrite:
            raise _Stays(place, "it is in a file that isn't among the given paths")
        yield place.module, ReplaceExpression(place.module.span(place.node), new)

    def _born(self, place: Place) -> Part:
        """The name that the expression stands for."""
        node, module = place.node, place.module
        if isinstance(node, ast.Attribute) and node.attr != LOCAL:
            return Literal(node.attr)
        if isinstance(node, ast.Call) and len(node.args) == 2 and not node.keywords:
            if library_name(self.facts.value(node.func)) == "builtins.getattr":
                return Kept(module.span(node.args[1]))
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.expr):
            return Kept(module.span(node.slice))
        raise _Stays(place, f"`{module.text(node)}` is no name of a type")

    def _read(self, read: Read) -> Iterator[tuple[Module, Edit]]:
        if read.inside:
            if read.act is Act.UNKNOWN:
                raise _Stays(read.place, f"what holds it goes on: {read.why}")
            return
        if read.act is Act.FIELD and isinstance(read.parent, ast.Attribute):
            if read.parent.attr == "name":
                kept = Kept(read.place.module.span(read.place.node))
                yield from self._edit(Place(read.place.module, read.parent), kept)
                return
        if read.act is Act.GIVEN:
            raise _Stays(read.place, "it is given to a context that stays")
        if read.act not in AS_BEFORE:
            text = read.place.module.text(read.parent)
            raise _Stays(read.place, read.why or f"`{text}` needs the enum")
        if isinstance(read.parent, ast.Compare):
            yield from self._compared(read.place, read.parent)

    def _compared(self, place: Place, test: ast.Compare) -> Iterator[tuple[Module, Edit]]:
        """`is` between strings is no test; what it is compared with has to be one of them."""
        if len(test.ops) != 1:
            raise _Stays(place, f"`{place.module.text(test)}` compares several things")
        left, op, right = test.left, test.ops[0], test.comparators[0]
        other = right if place.node is left else left
        if not isinstance(op, ast.In | ast.NotIn) and not self.facts.value(other) & self.atoms:
            if not (isinstance(other, ast.Constant) and other.value is None):
                raise _Stays(place, f"`{place.module.text(other)}` may be FSDP1's own enum")
        if not isinstance(op, ast.Is | ast.IsNot):
            return
        if isinstance(other, ast.Constant) and other.value is None:
            return
        first, second = (Kept(place.module.span(node)) for node in (left, right))
        if isinstance(op, ast.Is):
            new = code("{first} == {second}", first=first, second=second)
        else:
            new = code("{first} != {second}", first=first, second=second)
        yield from self._edit(Place(place.module, test), new)

    # ------------------------------------------------------------------ the class itself
    def _classes(self) -> Iterator[tuple[Module, ast.expr]]:
        for use in self.facts.uses:
            if use.name == TYPE and use.receiver is None:
                if not self._goes(Place(use.module, use.node)):
                    yield use.module, use.node

    def _class(self, place: Place) -> Iterator[tuple[Module, Edit]]:
        """The class, as an annotation; in what a value is born from it goes with that."""
        module, node = place.module, place.node
        parent = module.parents[node]
        if isinstance(parent, ast.Attribute | ast.Subscript) and parent.value is node:
            return
        if isinstance(parent, ast.Call) and parent.func is not node:
            if library_name(self.facts.value(parent.func)) == "builtins.getattr":
                return
        if not is_annotation(module, node):
            raise _Stays(place, f"`{module.text(parent)}` asks for the enum itself")
        yield from self._edit(place, _STRING)


_STRING: Code = code("str")


def is_annotation(module: Module, node: ast.expr) -> bool:
    """Whether `node` states a type, alone or as a part: `StateDictType | None`."""
    child: ast.AST = node
    for around in module.ancestors(node):
        if isinstance(around, ast.AnnAssign | ast.arg):
            return around.annotation is child
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef):
            return around.returns is child
        if not isinstance(around, ast.BinOp | ast.Subscript | ast.Tuple):
            return False
        child = around
    return False
