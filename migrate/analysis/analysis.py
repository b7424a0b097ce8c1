"""What is known of a program when the analysis has come to rest."""

from __future__ import annotations

import ast
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.call_graph import CallGraph
from fsdp_migrate.analysis.solver import ClassInfo, FunctionInfo, Solver
from fsdp_migrate.analysis.values import NOTHING, Atom, Container, Value, Wrapped
from fsdp_migrate.analysis.wraps import WrapFact
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
    calls: Mapping[Site, tuple[list[Value], dict[str, Value]]]
    call_nodes: Mapping[Site, ast.Call]
    open_modes: Mapping[ast.Call, frozenset[Site | None]]  # state-dict contexts around a call
    _solver: Solver

    @cached_property
    def call_graph(self) -> CallGraph:
        """Who calls whom."""
        return CallGraph.of(self.project, self.call_nodes, self.value, self.method)

    def value(self, node: ast.AST | None) -> Value:
        """What the expression `node` can be."""
        return self.values.get(node, NOTHING) if node is not None else NOTHING

    def wrapped(self, value: Value) -> set[Wrapped]:
        """The FSDP1 models that `value` can be."""
        return {atom for atom in value if isinstance(atom, Wrapped)}

    def modes_at(self, call: ast.Call) -> frozenset[Site | None]:
        """The state-dict contexts that can be open around `call`; None for none at all."""
        return self.open_modes.get(call, frozenset())

    @property
    def heap(self) -> Mapping[tuple[Hashable, ...], Value]:
        """What outlives a call: parameters, results, attributes, globals, items."""
        return self._solver.heap

    def bases(self, cls: Site) -> list[Atom]:
        """The base classes of `cls`, as far as they are known."""
        return self._solver.bases(cls)

    def lineage(self, cls: Site) -> list[Site]:
        """`cls` and its bases of the project, in an order good enough for method look-up."""
        return self._solver.lineage(cls)

    def library_bases(self, cls: Site) -> set[str]:
        """The library classes that `cls` derives from, by name."""
        return self._solver.library_bases(cls)

    def descendants(self, cls: Site) -> list[Site]:
        """The classes of the project that derive from `cls`."""
        return self._solver.descendants(cls)

    def method(self, cls: Site, name: str) -> Site | None:
        """The function that `name` means on an instance of `cls`."""
        return self._solver.method(cls, name)

    def is_module(self, atom: Atom) -> bool:
        """Whether `atom` is an `nn.Module` of the project's own."""
        return self._solver.is_module(atom)

    def parts(self, atom: Atom) -> Value:
        """What an object holds: an instance's attributes, a container's items."""
        return self._solver.parts(atom)

    def item_keys(self, site: Site) -> set[Hashable]:
        """The keys under which the container made at `site` holds something."""
        return self._solver.item_keys(site)

    def dict_values(self, container: Container) -> Value:
        """Everything that a container holds."""
        return self._solver.dict_values(container)


def analyse(project: Project) -> Analysis:
    """Follow the values of `project` until nothing new is found."""
    solver = Solver(project)
    solver.solve()
    return Analysis(
        project=project,
        functions=solver.functions,
        classes=solver.classes,
        values=solver.values,
        wraps=solver.wraps,
        calls=solver.calls,
        call_nodes=solver.call_nodes,
        open_modes=solver.ambient,
        _solver=solver,
    )
