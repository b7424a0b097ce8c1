"""What is known of a program when the analysis has come to rest."""

from __future__ import annotations

import ast
from collections.abc import Hashable, KeysView, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from types import MappingProxyType

from fsdp_migrate.analysis.call_graph import CallGraph
from fsdp_migrate.analysis.classes import Classes
from fsdp_migrate.analysis.heap import ANY, Heap
from fsdp_migrate.analysis.interned import forget
from fsdp_migrate.analysis.interpreter import run_task
from fsdp_migrate.analysis.named_tests import NamedTests
from fsdp_migrate.analysis.program import ClassInfo, FunctionInfo
from fsdp_migrate.analysis.proof_search import ROUNDS, find_proofs
from fsdp_migrate.analysis.record import Given, Modes
from fsdp_migrate.analysis.solver import Solver
from fsdp_migrate.analysis.values import NOTHING, Atom, Container, Value, Wrapped
from fsdp_migrate.analysis.wrap_contexts import WrapContexts
from fsdp_migrate.analysis.wraps import WrapFact, with_own_nodes
from fsdp_migrate.syntax.project import Project
from fsdp_migrate.syntax.span import Site


@dataclass(frozen=True, eq=False)
class Analysis:
    """The facts of a program: which values reach which expression, and what follows from it."""

    project: Project
    functions: Mapping[Site, FunctionInfo]
    classes: Mapping[Site, ClassInfo]
    values: Mapping[ast.AST, Value]
    wraps: Mapping[Site, WrapFact]
    calls: Mapping[Site, Given]
    call_nodes: Mapping[Site, ast.Call]
    open_modes: Mapping[ast.Call, Modes]  # the state-dict contexts around a call
    heap: Heap
    hierarchy: Classes
    call_graph: CallGraph
    has_models: bool = False  # made here, or elsewhere, as annotations and FSDP1's functions show

    @classmethod
    def of(cls, solver: Solver) -> Analysis:
        """What `solver`, which is at rest, has found."""
        record, heap = solver.record, solver.heap.at_rest()
        hierarchy = Classes(solver.program, heap)
        graph = CallGraph.of(
            solver.project, record.call_nodes, record.value, hierarchy.method, record.runs
        )
        contexts = WrapContexts(record.value, graph, record.calls)
        wraps = {s: with_own_nodes(f, record.value) for s, f in record.wraps.items()}
        return cls(
            project=solver.project,
            functions=MappingProxyType(solver.program.functions),
            classes=MappingProxyType(solver.program.classes),
            values=MappingProxyType(record.values),
            wraps=MappingProxyType({s: contexts.resolved(f) for s, f in wraps.items()}),
            calls=MappingProxyType(record.calls),
            call_nodes=MappingProxyType(record.call_nodes),
            open_modes=MappingProxyType(record.open_modes),
            heap=heap,
            hierarchy=hierarchy,
            call_graph=graph,
            has_models=any(
                isinstance(atom, Wrapped) for value in record.values.values() for atom in value
            ),
        )

    def value(self, node: ast.AST | None) -> Value:
        """What the expression `node` can be."""
        return self.values.get(node, NOTHING) if node is not None else NOTHING

    @cached_property
    def named_tests(self) -> NamedTests:
        """What finds tests that stand under a name."""
        return NamedTests(self.value, self.hierarchy, self.functions, self.classes)

    @cached_property
    def calls_in_order(self) -> Sequence[tuple[Site, ast.Call]]:
        """All calls, in the order of the source."""
        return sorted(self.call_nodes.items(), key=itemgetter(0))

    def wrapped(self, value: Value) -> set[Wrapped]:
        """The FSDP1 models that `value` can be."""
        return {atom for atom in value if isinstance(atom, Wrapped)}

    def modes_at(self, call: ast.Call) -> Modes:
        """The state-dict contexts that can be open around `call`; None for none at all."""
        return self.open_modes.get(call, frozenset())

    # ------------------------------------------------------------------ classes
    def bases(self, cls: Site) -> list[Atom]:
        """The base classes of `cls`, as far as they are known."""
        return self.hierarchy.bases(cls)

    def lineage(self, cls: Site) -> list[Site]:
        """`cls` and its bases of the project, in an order good enough for method look-up."""
        return self.hierarchy.lineage(cls)

    def library_bases(self, cls: Site) -> set[str]:
        """The library classes that `cls` derives from, by name."""
        return self.hierarchy.library_bases(cls)

    def descendants(self, cls: Site) -> list[Site]:
        """The classes of the project that derive from `cls`."""
        return self.hierarchy.descendants(cls)

    def method(self, cls: Site, name: str) -> Site | None:
        """The function that `name` means on an instance of `cls`."""
        return self.hierarchy.method(cls, name)

    def is_module(self, atom: Atom) -> bool:
        """Whether `atom` is an `nn.Module` of the project's own."""
        return self.hierarchy.is_module(atom)

    def may_be_module(self, cls: Site) -> bool:
        """Whether an object that is said to be a `cls` can be an `nn.Module`."""
        return self.hierarchy.may_be_module(cls)

    # ------------------------------------------------------------------ what objects hold
    def parts(self, atom: Atom) -> Value:
        """What an object holds: an instance's attributes, a container's items."""
        return self.hierarchy.parts(atom)

    def item_keys(self, site: Site) -> KeysView[Hashable]:
        """The keys under which the container made at `site` holds something."""
        return self.heap.item_keys(site)

    def has_always(self, site: Site, key: Hashable) -> bool:
        """Whether the dict made at `site` has a key, whatever has been done to it."""
        return self.heap.has_always(site, key)

    def keys_taken_out(self, site: Site) -> list[Hashable]:
        """The keys that something may take out of the dict made at `site`."""
        keys = [*self.heap.item_keys(site), ANY]
        return [key for key in keys if self.heap.read("popped", site, key)]

    def dict_values(self, container: Container) -> Value:
        """Everything that a container holds."""
        return self.heap.dict_values(container)


def analyse(project: Project) -> Analysis:
    """Follow the values of `project` until nothing new is found."""
    forget()
    solver = Solver(project, run_task)
    solver.solve()
    for _ in range(ROUNDS):
        if not find_proofs(solver):
            break
        solver = Solver(project, run_task, solver.proofs)
        solver.solve()
    return Analysis.of(solver)
