"""Which expressions are sharded tensors: parameters, gradients, optimizer state, and what comes of
them.

Parameters that are asked of the FSDP1 model are sharded.  Those that are asked of the module
inside of it are so from the wrap on: further below in the same function, in what is called from
there, and in the module's own methods when they are called on the wrapped model.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.tensors import owner_of
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Const,
    Container,
    Method,
    Params,
    Tensor,
    Unknown,
    Value,
    Wrapped,
)
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.gathered import FUNCTIONS, Gathered
from fsdp_migrate.lowering.made_of import MadeOf
from fsdp_migrate.lowering.module_names import module_paths
from fsdp_migrate.lowering.modules_inside import modules_of
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.span import Site

DEPTH = 4  # callers that are followed
Place = tuple[Module, ast.AST]


class ShardedTensors:
    """Tells which tensors are sharded after the migration, and whose they are."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.gathered = Gathered(analysis)
        self._models: dict[tuple[ast.AST, bool], frozenset[Wrapped]] = {}
        self._items: dict[Value, Value] = {}
        self.made_of = MadeOf(analysis)
        self._by_name: dict[ast.Attribute, tuple[WrapFact, ...]] = {}

    def models(self, module: Module, node: ast.AST, lists: bool = False) -> frozenset[Wrapped]:
        """The FSDP models that `node` can be a sharded tensor of (or, `lists`, holds some of)."""
        known = self._models.get((node, lists))
        if known is None:
            known = self._models[node, lists] = self._models_of(module, node, lists)
        return known

    def _models_of(self, module: Module, node: ast.AST, lists: bool) -> frozenset[Wrapped]:
        found: set[Wrapped] = set()
        for atom in self.held(node) if lists else self.analysis.value(node):
            found |= self.wraps_of(module, node, atom)
        if found and self.is_summoned(module, node):
            return frozenset()
        return frozenset(found)

    def wraps_of(self, module: Module, node: ast.AST, atom: Atom) -> frozenset[Wrapped]:
        """The FSDP models that `atom`, which `node` can be, is a sharded tensor of."""
        if self._is_whole(atom):
            return frozenset()
        owner = owner_of(atom)
        if isinstance(owner, Method):  # a part of a model
            owner = owner.receiver
        if isinstance(owner, Wrapped):
            return frozenset({owner})
        around = set(self._around(owner)) if owner is not None else set[WrapFact]()
        if isinstance(atom, Params):
            around |= set(self._by_birth(atom))
        return frozenset(Wrapped(fact.site) for fact in around if self.is_below(module, node, fact))

    def in_the_end(self, node: ast.AST) -> bool:
        """Whether all that `node` is known to be are parameters of what is wrapped at last."""
        known = [a for a in self.analysis.value(node) if not isinstance(a, Unknown)]
        owners = [owner_of(atom) for atom in known]
        whole = [o.receiver if isinstance(o, Method) else o for o in owners]
        return bool(whole) and all(
            isinstance(owner, Wrapped) or (owner is not None and bool(self._around(owner)))
            for owner in whole
        )

    def is_certain(self, module: Module, node: ast.AST) -> bool:
        """Whether `node` is a sharded tensor (or None) and nothing else."""
        atoms = [a for a in self.analysis.value(node) if a not in NONE]
        return bool(atoms) and all(
            self.wraps_of(module, node, atom) and not self._may_be_whole(module, node, atom)
            for atom in atoms
        )

    def held(self, node: ast.AST) -> Value:
        """What `node` can be, or hold in a list."""
        value = self.analysis.value(node)
        known = self._items.get(value)
        if known is None:
            known = self._items[value] = self._with_items(value, 0)
        return known

    def _with_items(self, value: Value, depth: int) -> Value:
        found = value
        for atom in value:
            if isinstance(atom, Container) and depth < DEPTH:
                found |= self._with_items(self.analysis.dict_values(atom), depth + 1)
        return found

    def _around(self, owner: Atom) -> Iterable[WrapFact]:
        """The wraps around a module."""
        if not isinstance(owner, Unknown):
            return self._inner.get(owner, ())
        return (
            fact
            for inner, around in self._inner.items()
            if isinstance(inner, Unknown) and _may_be_same(inner, owner)
            for fact in around
        )

    def named(self, atom: Params) -> frozenset[Wrapped]:
        """The models that the module which is asked for `atom` may be inside of, by its name."""
        return frozenset(Wrapped(fact.site) for fact in self._by_birth(atom))

    def _by_birth(self, atom: Params) -> tuple[WrapFact, ...]:
        if not isinstance(atom.owner, Unknown) or atom.born is None:
            return ()
        call = self.analysis.call_nodes.get(atom.born)
        if call is None or not isinstance(call.func, ast.Attribute):
            return ()
        return self._around_by_name(self.analysis.project.modules[atom.born.module], call.func)

    def inside(self, module: Module, asked: ast.Attribute) -> frozenset[Wrapped]:
        """The models that `net` in `net.parameters` may be inside of, if nobody knows what it is.

        That goes by its name: the model was made of what was called so.
        """
        if not any(isinstance(atom, Unknown) for atom in self.analysis.value(asked.value)):
            return frozenset()
        return frozenset(Wrapped(fact.site) for fact in self._around_by_name(module, asked))

    def _around_by_name(self, module: Module, asked: ast.Attribute) -> tuple[WrapFact, ...]:
        if asked not in self._by_name:
            paths = module_paths(asked.value)  # of the module, or of what it is taken out of
            found = [f for path in paths for f in self.made_of.inside(module, asked, path)]
            self._by_name[asked] = tuple(dict.fromkeys(found))
        return self._by_name[asked]

    @cached_property
    def _inner(self) -> dict[Atom, list[WrapFact]]:
        """The wraps around a module, by the module."""
        found: dict[Atom, list[WrapFact]] = {}
        for fact in self.analysis.wraps.values():
            ignored = self._ignored(fact)
            modules, _ = modules_of(self.analysis, fact, ignored)
            unknown = {a for a in modules if isinstance(a, Unknown)} - fact.inner
            for atom in modules:
                if atom not in unknown and not isinstance(atom, Container | Const):
                    found.setdefault(atom, []).append(fact)
        return found

    def _ignored(self, fact: WrapFact) -> Value:
        """The modules that a wrap leaves alone."""
        names = ("ignored_modules", "ignored_states")
        given = [fact.arguments[name].value for name in names if name in fact.arguments]
        return frozenset(atom for value in given for atom in self._with_items(value, 0))

    # ------------------------------------------------------------------ below the wrap
    def is_below(self, module: Module, node: ast.AST, fact: WrapFact) -> bool:
        """Whether `node` may run after a wrap is done."""
        return self._runs_below(module, node, self.places(fact), fact.site, DEPTH, is_own=True)

    def _runs_below(
        self,
        module: Module,
        node: ast.AST,
        places: list[Place],
        site: Site,
        depth: int,
        *,
        is_own: bool,
    ) -> bool:
        """Whether `node` runs after the wrap at `site`, which the calls at `places` make.

        What an object does with itself (`is_own`) while it is made is done before it is wrapped.
        """
        function = module.function(node)
        if any(
            home is module and home.function(place) is function and _line(node) > _line(place)
            for home, place in places
        ):
            return True
        if not isinstance(function, FUNCTIONS) or depth == 0 or function.name == "forward":
            return False  # parameters are gathered while the forward pass runs
        is_own = is_own and _is_of_self(function, node)
        if is_own and function.name == "__init__":
            return False
        graph = self.analysis.call_graph
        for home, run in graph.runs_of(module.site(function)):
            func = run.func if isinstance(run, ast.Call) else None
            if isinstance(func, ast.Attribute) and Wrapped(site) in self.analysis.value(func.value):
                return True
            if self._runs_below(home, run, places, site, depth - 1, is_own=is_own):
                return True
        return False

    def places(self, fact: WrapFact) -> list[Place]:
        """The wrap, and what runs the functions that make it."""
        graph = self.analysis.call_graph
        found: list[Place] = [(fact.module, fact.node)]
        for module, node in found:
            function = module.function(node)
            if function is not None and len(found) < 2 * DEPTH:
                found += graph.runs_of(module.site(function))
        return found

    # ------------------------------------------------------------------ gathered
    def is_summoned(self, module: Module, node: ast.AST) -> bool:
        """Whether `node` runs inside `summon_full_params`, here or in every caller."""
        return self.gathered.always(module, node)

    def _is_whole(self, atom: Atom) -> bool:
        """Whether a tensor was computed from, or copied of, parameters that were whole."""
        return any(self.gathered.at(site)[0] for site in _begins(atom))

    def _may_be_whole(self, module: Module, node: ast.AST, atom: Atom) -> bool:
        begins = _begins(atom)
        if not begins:
            return self.gathered.ever(module, node)
        return any(self.gathered.at(site)[1] for site in begins)


def _is_of_self(function: ast.AST, node: ast.AST) -> bool:
    """Whether `node` is something of the object whose method `function` is, or calls it."""
    if not isinstance(function, ast.FunctionDef) or not function.args.args:
        return False
    names = {function.args.args[0].arg}
    for loop in own_nodes(function):  # `for m in self.modules()`
        if isinstance(loop, ast.For | ast.comprehension) and _root(loop.iter) in names:
            names |= {n.id for n in nodes_in(loop.target) if isinstance(n, ast.Name)}
    return _root(node) in names


def _root(node: ast.AST) -> str | None:
    """The variable that an expression begins with: `net` of `net.layers[0].weight.sum()`."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _begins(atom: Atom) -> list[Site]:
    """Where what gives a tensor begins, copies among it; nothing for a parameter itself."""
    if not isinstance(atom, Tensor | Params):
        return []
    begins = [atom.made, atom.origin if isinstance(atom, Tensor) else None]
    return [site for site in begins if site is not None]


def _may_be_same(one: Unknown, other: Unknown) -> bool:
    """Whether two things that aren't known can be one: of two reasons only one was kept, where
    what may be a model met something else."""
    return one.reason == other.reason or bool(one.models or other.models)


def is_direct(atom: Atom) -> bool:
    """Whether `atom` is a parameter, a gradient or state itself, and not computed from one."""
    return not isinstance(atom, Tensor) and owner_of(atom) is not None


def is_list(atom: Atom) -> bool:
    """Whether `atom` is parameters in a list, or may be."""
    return isinstance(atom, Params) and atom.kind in ("", "named")


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)
