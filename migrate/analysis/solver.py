"""The whole-program analysis: which values reach which expression.

An abstract interpreter over the syntax trees.  Locals are followed statement by statement,
everything that outlives a call (parameters, returns, attributes, globals, containers) lives on
one heap of joined values.  A unit of work is a module body or a function, methods apart for each
class they run on; a unit runs again when something grew that it has read, until nothing grows.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.values import (
    NOTHING,
    TOO_MANY,
    Atom,
    Cls,
    Container,
    Instance,
    Result,
    Symbol,
    Value,
    Wrapped,
    cached_hash,
    join,
    unknown,
)
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.syntax.module import Function, Module, Scope, scope_nodes
from fsdp_migrate.syntax.project import Project
from fsdp_migrate.syntax.span import Site

ANY = "*"  # the key of what is stored under a name or index that isn't known
MAX_GROWTH = 25  # a place on the heap that changes more often holds too many values to follow
MAX_RUNS = 200_000
MAX_DEPTH = 40  # of calls that are followed at once

Key = tuple[Hashable, ...]


@dataclass(frozen=True)
class Unit:
    """A function (or module body, `site` None) and the class of the object it runs on."""

    module: str
    site: Site | None = None
    receiver: Site | None = None

    __hash__ = cached_hash


@dataclass(eq=False)
class FunctionInfo:
    """A function of the project."""

    module: Module
    node: Function
    outer: tuple[Site, ...]  # the functions around it, the innermost first
    cls: Site | None  # the class it is a method of
    locals: frozenset[str]
    captured: frozenset[str]  # names that functions nested in it use

    @cached_property
    def is_generator(self) -> bool:
        """Whether calling it gives an iterator over what it yields."""
        return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in scope_nodes(self.node))

    @property
    def decorators(self) -> set[str]:
        """The last names of its decorators."""
        nodes = [] if isinstance(self.node, ast.Lambda) else self.node.decorator_list
        names = [node.func if isinstance(node, ast.Call) else node for node in nodes]
        return {n.attr if isinstance(n, ast.Attribute) else getattr(n, "id", "") for n in names}


@dataclass(eq=False)
class ClassInfo:
    """A class of the project."""

    module: Module
    node: ast.ClassDef
    methods: dict[str, Site]
    is_dataclass: bool
    field_order: tuple[str, ...]


class Solver:
    """The state of the analysis, and what it found when `solve` has run."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.functions: dict[Site, FunctionInfo] = {}
        self.classes: dict[Site, ClassInfo] = {}
        self.captured: dict[str, frozenset[str]] = {}
        self.values: dict[ast.AST, Value] = defaultdict(lambda: NOTHING)
        self.wraps: dict[Site, WrapFact] = {}
        self.ambient: dict[ast.Call, frozenset[Site | None]] = defaultdict(frozenset)
        self.calls: dict[Site, tuple[list[Value], dict[str, Value]]] = {}
        self.call_nodes: dict[Site, ast.Call] = {}
        self.heap: dict[Key, Value] = {}
        self.contexts: dict[Unit, frozenset[Site | None]] = {}
        self._items: dict[Site, set[Hashable]] = defaultdict(set)
        self._lineages: dict[Site, list[Site]] = {}
        self._children: dict[Site, list[Site]] | None = None
        self._readers: dict[Key, set[Unit]] = defaultdict(set)
        self._queue: deque[Unit] = deque()
        self._queued: set[Unit] = set()
        self._growth: Counter[Key] = Counter()
        self._started: set[str] = set()
        self._depth = 0
        self._runs = 0
        self._reached: set[Site] = set()
        self._current: Unit | None = None
        for module in project.modules.values():
            self._index(module)

    # ------------------------------------------------------------------ definitions
    def _index(self, module: Module) -> None:
        """Find the functions and classes of a module."""

        def visit(node: ast.AST, outer: tuple[Site, ...], cls: Site | None) -> None:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                    site = module.site(child)
                    self.functions[site] = FunctionInfo(
                        module, child, outer, cls, _bound(child), _inner_names(child)
                    )
                    visit(child, (site, *outer), None)
                elif isinstance(child, ast.ClassDef):
                    self.classes[module.site(child)] = self._class_info(module, child)
                    visit(child, outer, module.site(child))
                else:
                    visit(child, outer, cls)

        visit(module.tree, (), None)
        self.captured[module.name] = _inner_names(module.tree)

    @staticmethod
    def _class_info(module: Module, node: ast.ClassDef) -> ClassInfo:
        methods = {
            item.name: module.site(item)
            for item in scope_nodes(node)
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        names = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
        is_dataclass = any(
            (d.attr if isinstance(d, ast.Attribute) else getattr(d, "id", "")) == "dataclass"
            for d in names
        )
        order = tuple(
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        )
        return ClassInfo(module, node, methods, is_dataclass, order)

    # ------------------------------------------------------------------ the heap
    def read(self, *key: Hashable) -> Value:
        """The value under `key`; the current unit runs again when it grows."""
        if self._current is not None:
            self._readers[key].add(self._current)
        return self.heap.get(key, NOTHING)

    def write(self, value: Value, *key: Hashable) -> None:
        """Join `value` to what is under `key`."""
        old = self.heap.get(key, NOTHING)
        new = join(old, value)
        if key[0] == "item" and isinstance(key[1], Site) and key[2] not in self._items[key[1]]:
            self._items[key[1]].add(key[2])
            for unit in self._readers[("keys", key[1])]:
                self.enqueue(unit)
        if new != old:
            self._growth[key] += 1
            if self._growth[key] > MAX_GROWTH:
                new = join(new, frozenset({TOO_MANY}))
                if new == old:
                    return
            self.heap[key] = new
            if key[0] == "bases":
                self._lineages.clear()
                self._children = None
                for unit in self._readers[("classes",)]:
                    self.enqueue(unit)
            for unit in self._readers[key]:
                self.enqueue(unit)

    def item_keys(self, site: Site) -> set[Hashable]:
        """The keys under which the container made at `site` holds something."""
        self.read("keys", site)
        return set(self._items[site])

    def dict_values(self, container: Container) -> Value:
        """Everything that a container holds."""
        return join(
            *(self.read("item", container.site, key) for key in self.item_keys(container.site))
        )

    def enqueue(self, unit: Unit) -> None:
        """Have `unit` run (again)."""
        if unit not in self._queued:
            self._queued.add(unit)
            self._queue.append(unit)

    def enter(self, unit: Unit, ambient: frozenset[Site | None]) -> None:
        """Note that `unit` is called, with the state-dict contexts `ambient` open around it."""
        assert unit.site is not None
        old = self.contexts.get(unit)
        new = (old or frozenset()) | ambient
        self._reached.add(unit.site)
        if new != old:
            self.contexts[unit] = new
            if old is None and self._depth < MAX_DEPTH:
                self._run(unit)  # so that the caller sees what it returns
            else:
                self.enqueue(unit)

    def require(self, module: str) -> None:
        """Have the body of a module run before something is read from it."""
        if module not in self._started and module in self.project.modules:
            self._started.add(module)
            self._run(Unit(module))

    def _run(self, unit: Unit) -> None:
        from fsdp_migrate.analysis.expressions import Frame

        saved, self._current = self._current, unit
        self._depth += 1
        self._queued.discard(unit)
        self._runs += 1
        if self._runs > MAX_RUNS:
            raise RecursionError("the analysis does not settle")
        Frame(self, unit).run()
        self._depth -= 1
        self._current = saved

    # ------------------------------------------------------------------ classes
    def bases(self, cls: Site) -> list[Atom]:
        """The base classes of `cls`, as far as they are known."""
        return list(self.read("bases", cls))

    def lineage(self, cls: Site) -> list[Site]:
        """`cls` and its bases of the project, in an order good enough for method look-up."""
        if self._current is not None:
            self._readers[("classes",)].add(self._current)
        known = self._lineages.get(cls)
        if known is None:
            known = self._lineages[cls] = self._linearised(cls)
        return known

    def _linearised(self, cls: Site) -> list[Site]:
        order: list[Site] = []

        def visit(site: Site) -> None:
            if site in order:
                return
            order.append(site)
            for base in sorted(
                (b.site for b in self.bases(site) if isinstance(b, Cls)), key=lambda s: s.line
            ):
                visit(base)

        visit(cls)
        return order

    def library_bases(self, cls: Site) -> set[str]:
        """The library classes that `cls` derives from, by name."""
        return {
            base.name
            for site in self.lineage(cls)
            for base in self.bases(site)
            if isinstance(base, Symbol)
        }

    def descendants(self, cls: Site) -> list[Site]:
        """The classes of the project that derive from `cls`."""
        if self._children is None:
            self._children = defaultdict(list)
            for site in self.classes:
                for base in self.lineage(site)[1:]:
                    self._children[base].append(site)
        return self._children.get(cls, [])

    def method(self, cls: Site, name: str) -> Site | None:
        """The function that `name` means on an instance of `cls`."""
        for site in self.lineage(cls):
            found = self.classes[site].methods.get(name)
            if found is not None:
                return found
        return None

    def is_module(self, atom: Atom) -> bool:
        """Whether `atom` is an `nn.Module` of the project's own."""
        return isinstance(atom, Instance) and any(
            name.startswith(("torch.", "transformers.", "lightning", "pytorch_lightning"))
            for name in self.library_bases(atom.cls)
        )

    def parts(self, atom: Atom) -> Value:
        """What an object holds: an instance's attributes, a container's items."""
        if isinstance(atom, Instance):
            family = {*self.lineage(atom.cls), *self.descendants(atom.cls)}
            return join(*(v for k, v in self.heap.items() if k[0] == "field" and k[1] in family))
        if isinstance(atom, Container):
            return self.dict_values(atom)
        if isinstance(atom, Result) and atom.symbol.startswith("torch.nn."):
            return self.read("item", atom.site, ANY)
        return NOTHING

    # ------------------------------------------------------------------ the fixpoint
    def solve(self) -> None:
        """Run all units to the fixpoint: modules first, then what nothing was seen to call."""
        for name in self.project.modules:
            self.require(name)
        self._drain()
        while entries := self._next_entries():
            for site in entries:
                self._enter_unknown(site)
            self._drain()

    def _drain(self) -> None:
        while self._queue:
            unit = self._queue.popleft()
            if unit in self._queued:
                self._run(unit)

    def _next_entries(self) -> list[Site]:
        """Functions that nothing reached, those first that no other of them mentions."""
        missing = [
            site
            for site, info in self.functions.items()
            if site not in self._reached and not isinstance(info.node, ast.Lambda)
        ]
        if not missing:
            return []
        mentioned: set[str] = set()
        for site in missing:
            info = self.functions[site]
            own = getattr(info.node, "name", "")
            for node in ast.walk(info.node):
                name = getattr(node, "attr", None) or getattr(node, "id", None)
                if name and name != own:
                    mentioned.add(name)
        free = [s for s in missing if getattr(self.functions[s].node, "name", "") not in mentioned]
        inits = [s for s in missing if getattr(self.functions[s].node, "name", "") == "__init__"]
        return inits or free or missing[:1]

    def _enter_unknown(self, site: Site) -> None:
        """Run a function that nothing calls: its parameters are what their annotations say."""
        info = self.functions[site]
        receivers: list[Site | None] = [info.cls]
        for receiver in receivers:
            unit = Unit(info.module.name, site, receiver)
            args = info.node.args
            named = [*args.posonlyargs, *args.args]
            static = "staticmethod" in info.decorators
            for index, arg in enumerate([*named, *args.kwonlyargs]):
                if index == 0 and info.cls is not None and not static:
                    is_class = "classmethod" in info.decorators
                    self_value = Cls(info.cls) if is_class else Instance(info.cls)
                    self.write(frozenset({self_value}), "param", unit, arg.arg)
                    continue
                self.write(NOTHING, "param", unit, arg.arg)
                self.write(
                    unknown(f"parameter `{arg.arg}`, which nothing here passes"),
                    "unpassed",
                    unit,
                    arg.arg,
                )
            reason = unknown("passed from outside, which nothing here does")
            for star, kind in ((args.vararg, "tuple"), (args.kwarg, "dict")):
                if star is not None:
                    made = Container(info.module.site(star), kind)
                    self.write(reason, "item", made.site, ANY)
            self.enter(unit, frozenset({None}))

    # ------------------------------------------------------------------ questions
    def value(self, node: ast.AST | None) -> Value:
        """What the expression `node` can be."""
        return self.values[node] if node is not None else NOTHING

    def wrapped(self, value: Value) -> set[Wrapped]:
        """The FSDP1 models that `value` can be."""
        return {atom for atom in value if isinstance(atom, Wrapped)}


def _bound(function: Function) -> frozenset[str]:
    """The names that are local to `function`."""
    args = function.args
    names = {a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs]}
    names |= {a.arg for a in (args.vararg, args.kwarg) if a is not None}
    outer: set[str] = set()
    for node in scope_nodes(function):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            outer |= set(node.names)
    return frozenset(names - outer)


def _inner_names(scope: Scope) -> frozenset[str]:
    """The names that functions and classes nested in `scope` use."""
    names: set[str] = set()
    for node in scope_nodes(scope):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return frozenset(names)
