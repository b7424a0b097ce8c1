"""What takes hold of a model's parameters: optimizers, and lists that keep them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.modules import PARAMETERS
from fsdp_migrate.analysis.library_results import (
    LibraryResults,
    Role,
    is_optimizer_name,
    parts_given,
)
from fsdp_migrate.analysis.values import (
    Atom,
    Container,
    Params,
    Result,
    Symbol,
    Unknown,
    Value,
)
from fsdp_migrate.lowering.held import owners
from fsdp_migrate.lowering.kept_parameters import KeptParameters
from fsdp_migrate.lowering.module_names import module_paths
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import binds, path_of, reads

DEPTH = 6  # containers that are looked into
SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr)


@dataclass(frozen=True)
class Holder:
    """A call that makes something which keeps parameters."""

    module: Module
    call: ast.Call
    owners: frozenset[Atom]  # the modules whose parameters they are, as far as they are known
    paths: frozenset[str]  # those modules by name
    is_optimizer: bool  # False: an object of a library that may keep them


class ParameterHolders:
    """Finds what is given a model's parameters, and keeps them."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.results = LibraryResults(analysis)
        self.kept = KeptParameters(analysis)

    @cached_property
    def all(self) -> list[Holder]:
        """Every call that makes something which keeps parameters."""
        modules = self.analysis.project.modules
        calls = [(modules[site.module], call) for site, call in self.analysis.call_nodes.items()]
        found = (self._holder(module, call) for module, call in calls)
        return [holder for holder in found if holder is not None]

    def _holder(self, module: Module, call: ast.Call) -> Holder | None:
        role = self._role(call)
        if role is Role.NONE:
            return None
        is_optimizer = role is Role.OPTIMIZER
        whose = self._parameters_given(call)
        if is_optimizer:
            whole = self._models_given(call)
            whose = (whose or frozenset()) | whole if whose is not None or whole else None
        if whose is None:
            return None
        return Holder(module, call, whose, self._paths(module, call, whose), is_optimizer)

    # ------------------------------------------------------------------ what a call makes
    def _role(self, call: ast.Call) -> Role:
        """What becomes of the parameters that `call` may be given."""
        if self.names_optimizer(call):
            return Role.OPTIMIZER
        known = {atom: self.results.known_role(atom) for atom in self.analysis.value(call)}
        if Role.OPTIMIZER in known.values():
            return Role.OPTIMIZER
        unsure = [atom for atom, role in known.items() if role is None]
        if not unsure or not self._is_given_any(call):
            return Role.NONE
        roles = {self.results.role(atom) for atom in unsure if atom not in self._wrapped_modules}
        return next((r for r in (Role.OPTIMIZER, Role.KEEPS) if r in roles), Role.NONE)

    def names_optimizer(self, call: ast.Call) -> bool:
        """Whether what `call` calls is of PyTorch's optimizers, be it picked at run time."""
        return any(
            is_optimizer_name(atom.name if isinstance(atom, Symbol) else atom.symbol)
            for atom in self.analysis.value(call.func)
            if isinstance(atom, Symbol | Result)
        )

    def _is_given_any(self, call: ast.Call) -> bool:
        """Whether `call` is given parameters, or the whole of a model that is wrapped."""
        return self._parameters_given(call) is not None or bool(self._models_given(call))

    # ------------------------------------------------------------------ whose parameters
    def _models_given(self, call: ast.Call) -> frozenset[Atom]:
        """The modules that are wrapped somewhere and are arguments of `call` themselves."""
        given = [self.analysis.value(argument) for argument in parts_given(call)]
        return frozenset().union(*given) & self._wrapped_modules

    def _parameters_given(self, call: ast.Call) -> frozenset[Atom] | None:
        """The owners of the parameters in the arguments of `call`; None if there are none."""
        found: set[Atom] = set()
        direct = False
        for argument in parts_given(call):
            found |= self.params_in(self.analysis.value(argument))
            direct = direct or any(True for _ in parameter_calls(argument))
            for node in nodes_in(argument):
                found |= {a.owner for a in self.analysis.value(node) if isinstance(a, Params)}
        held = bool(found) or direct or bool(self._held_paths(call))
        return frozenset(found) if held else None

    def _held_paths(self, call: ast.Call) -> frozenset[str]:
        """The models by name whose parameters the text shows in the arguments of `call`."""
        module, held = self.analysis.call_graph.module_of(call), self.kept.flow.held
        return frozenset().union(*(owners(held(module, given)) for given in parts_given(call)))

    @cached_property
    def _wrapped_modules(self) -> Value:
        """All that is wrapped somewhere, as far as it is known."""
        inner: Value = frozenset().union(*(fact.inner for fact in self.analysis.wraps.values()))
        return frozenset(atom for atom in inner if not isinstance(atom, Unknown))

    def params_in(self, value: Value) -> frozenset[Atom]:
        """The modules whose parameters `value` holds, in lists and dicts too."""
        found: set[Atom] = set()
        seen: set[Container] = set()
        level = value
        for _ in range(DEPTH + 1):
            found |= {atom.owner for atom in level if isinstance(atom, Params)}
            new = {atom for atom in level if isinstance(atom, Container)} - seen
            seen |= new
            level = frozenset().union(*map(self.analysis.dict_values, new))
        return frozenset(found)

    # ------------------------------------------------------------------ their names
    def _paths(self, module: Module, call: ast.Call, whose: frozenset[Atom]) -> frozenset[str]:
        """The names of the models whose parameters `call` is given."""
        paths = {path for path, _ in parameter_calls(call)}
        for argument in parts_given(call):
            path = path_of(argument)
            if path is not None and self.analysis.value(argument) & self._wrapped_modules:
                paths.add(path)
        paths |= self._held_paths(call)
        if paths:
            return frozenset(paths)
        scope = module.scope(call)
        return frozenset(self._sources(scope, call, whose)) or frozenset(
            path for path, _ in parameter_calls(scope) if path
        )

    def _sources(self, scope: Scope, call: ast.Call, whose: frozenset[Atom]) -> Iterator[str]:
        """The models that are named where the variables which `call` is given are made."""
        wanted = set(reads(call))
        nodes = [n for n in own_nodes(scope) if isinstance(n, ast.stmt) and n.lineno < call.lineno]
        for statement in sorted(nodes, key=lambda n: n.lineno, reverse=True):
            if isinstance(statement, SIMPLE) and binds(statement) & wanted:
                wanted |= reads(statement)
                yield from (path for path, _ in parameter_calls(statement))
                for node in own_nodes(statement):
                    path = path_of(node)
                    if path is not None and self.analysis.value(node) & whose:
                        yield path
            elif isinstance(statement, ast.For) and reads(statement) & wanted:
                yield from (path for path, _ in parameter_calls(statement.iter))


def parameter_calls(node: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """The calls of `x.parameters()` and `x.named_parameters()` in `node`, and what `x` is."""
    for item in nodes_in(node):
        if (
            isinstance(item, ast.Call)
            and isinstance(item.func, ast.Attribute)
            and item.func.attr in PARAMETERS
        ):
            yield from ((path, item) for path in module_paths(item.func.value))
