"""Attributes that a program sets on parameters before a wrap and may read after it.

`fully_shard` makes new parameters, which lack them: `p.lr_mult = 0.1` is forgotten.  FSDP1 with
`use_orig_params=True` kept the parameters, and with them whatever was set on them.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.modules import ATTRIBUTES
from fsdp_migrate.analysis.library_results import KNOWN
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    Cls,
    Const,
    Func,
    Instance,
    ModuleRef,
    Params,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    constants,
    join,
    symbols,
)
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.held import Parameter
from fsdp_migrate.lowering.parameter_flow import ParameterFlow
from fsdp_migrate.lowering.running_order import may_run_before, runs_only_before
from fsdp_migrate.lowering.steps import Step, steps_outwards
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes

# What a parameter has by itself; the new ones have it too, or it is a matter of their own.
TENSORS_OWN = frozenset({"data", "grad", "names", "requires_grad"})
GETTERS = frozenset({"builtins.getattr", "builtins.hasattr"})
NO_PARAMETER = Cls | Const | Instance | ModuleRef | Symbol | Wrapped


@dataclass(frozen=True)
class SetAttribute:
    """A statement that sets an attribute on a parameter."""

    module: Module
    node: ast.expr  # the parameter
    name: str | None  # None: only the run knows
    value: ast.expr | None  # None: it isn't one expression
    owner: Value  # the modules whose parameter it can be, as far as they are known


class ParameterAttributes:
    """Which wraps lose attributes that were set on parameters."""

    def __init__(self, analysis: Analysis, modules: Sequence[Module]) -> None:
        self.analysis = analysis
        self.modules = modules
        self.flow = ParameterFlow(analysis)

    def lost_by(self, fact: WrapFact) -> frozenset[str]:
        """The attributes that a wrap would lose, "*" for one whose name only the run knows."""
        return frozenset(found.name or "*" for found in self._lost(fact))

    def tied_by(self, fact: WrapFact) -> frozenset[str]:
        """Those of them that hold a parameter: a copy would go on with the old one."""
        return frozenset(
            found.name or "*" for found in self._lost(fact) if self._holds_parameter(found)
        )

    def _lost(self, fact: WrapFact) -> Iterator[SetAttribute]:
        if not self.set or kept_nothing(fact):
            return
        calls = self.analysis.call_graph
        wrapping = list(steps_outwards(calls, fact.module, fact.node, frozenset()))
        inside = self._inside(fact.inner)
        for found in self.set:
            if (
                self._may_be_of(found, inside)
                and may_run_before(calls, found.module, found.node, wrapping)
                and self._is_read(found.name, wrapping)
            ):
                yield found

    # ------------------------------------------------------------------ where they are set
    @cached_property
    def set(self) -> tuple[SetAttribute, ...]:
        """Every statement that sets one."""
        found: dict[tuple[ast.expr, str | None], SetAttribute] = {}
        for module in self.modules:
            for node, name, value in self._stores(module):
                if self._is_parameter(module, node):
                    owner = self._owner(module, node)
                    found[node, name] = SetAttribute(module, node, name, value, owner)
        return tuple(found.values())

    def _stores(self, module: Module) -> Iterator[tuple[ast.expr, str | None, ast.expr | None]]:
        """What has an attribute set on it, the attribute's name, and what it is set to."""
        for node in module.parents:
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if node.attr not in TENSORS_OWN and not node.attr.startswith("__"):
                    parent = module.parents[node]
                    value = parent.value if isinstance(parent, ast.Assign | ast.AnnAssign) else None
                    yield node.value, node.attr, value
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                owner = self._dictionary_of(node.value)
                if owner is not None:
                    yield owner, self._key(node.slice), None
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = self._dictionary_of(node.func.value)
                if owner is not None and node.func.attr in {"setdefault", "update"}:
                    yield owner, None, None
            elif isinstance(node, ast.Call) and len(node.args) == 3:
                if symbols(self.analysis.value(node.func)) == {"builtins.setattr"}:
                    known = constants(self.analysis.value(node.args[1]))
                    for name in known or [None]:
                        if name not in TENSORS_OWN:
                            said = name if isinstance(name, str) else None
                            yield node.args[0], said, node.args[2]

    def _dictionary_of(self, node: ast.expr) -> ast.expr | None:
        """The `x` of `x.__dict__` and `vars(x)`."""
        if isinstance(node, ast.Attribute):
            return node.value if node.attr == ATTRIBUTES else None
        if isinstance(node, ast.Call) and len(node.args) == 1:
            if symbols(self.analysis.value(node.func)) == {"builtins.vars"}:
                return node.args[0]
        return None

    def _key(self, node: ast.expr) -> str | None:
        known = constants(self.analysis.value(node))
        name = known[0] if known is not None and len(known) == 1 else None
        return name if isinstance(name, str) else None

    # ------------------------------------------------------------------ what they are set to
    def _holds_parameter(self, found: SetAttribute) -> bool:
        """Whether what is set keeps a parameter, and does not go below the wrap as a whole."""
        module, value = found.module, found.value
        if value is None:
            return False
        held = self.flow.held(module, value)
        if held is not None:
            moves = isinstance(module.parents[value], ast.Assign | ast.AnnAssign)
            return isinstance(held, Parameter) or not moves
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            if value.func.attr == "__get__":
                return any(self._is_parameter(module, argument) for argument in value.args)
        inside = any(True for _ in self.flow.held_in_calls(module, value))
        return inside or self._is_closure(module, value)

    def _is_closure(self, module: Module, value: ast.expr) -> bool:
        """Whether a function is set that reads a parameter of the function around it."""
        variables = self.flow.frame(module, module.scope(value)).variables
        return any(
            isinstance(part, ast.Name) and isinstance(variables.get(part.id), Parameter)
            for atom in self.analysis.value(value)
            if isinstance(atom, Func) and atom.site.module == module.name
            for function in [self.analysis.functions[atom.site].node]
            if module.function(function) is module.function(value)
            for part in nodes_in(function)
        )

    def _is_parameter(self, module: Module, node: ast.expr) -> bool:
        value = self.analysis.value(node)
        if any(isinstance(atom, NO_PARAMETER) for atom in value):
            return False
        if isinstance(self.flow.held(module, node), Parameter):
            return True
        return any(isinstance(held, Parameter) for held in self.flow.held_in_calls(module, node))

    def _owner(self, module: Module, node: ast.expr) -> Value:
        """The modules whose parameter `node` can be."""
        around = self.analysis.value(node.value) if isinstance(node, ast.Attribute) else NOTHING
        found = set(around)
        for atom in self.analysis.value(node):
            if isinstance(atom, Params):
                found.add(atom.owner)
            elif not around:
                found.add(Unknown("some module"))
        return frozenset(found)

    # ------------------------------------------------------------------ whose they are
    def _inside(self, inner: Value) -> frozenset[Atom]:
        """A model, and all that it consists of, or that a library was given to make it of."""
        found: set[Atom] = set()
        todo = list(inner)
        while todo:
            atom = todo.pop()
            if atom not in found:
                found.add(atom)
                todo += self.analysis.parts(atom)
                if isinstance(atom, Result):
                    args, kwargs = self.analysis.calls.get(atom.site, ([], {}))
                    todo += join(*args, *kwargs.values())
        return frozenset(found)

    def _may_be_of(self, found: SetAttribute, inside: frozenset[Atom]) -> bool:
        if any(isinstance(atom, Unknown) for atom in inside):
            return True
        known = [a for a in found.owner if isinstance(a, Instance | Result | Wrapped)]
        unsure = len(known) < len(found.owner) or not known
        return unsure or any(atom in inside or self._is_kin(atom, inside) for atom in known)

    def _is_kin(self, atom: Atom, inside: frozenset[Atom]) -> bool:
        """Whether an object of a class may be one of its subclasses' objects in the model."""
        return isinstance(atom, Instance) and any(
            isinstance(other, Instance) and atom.cls in self.analysis.lineage(other.cls)
            for other in inside
        )

    # ------------------------------------------------------------------ where they are read
    def _is_read(self, name: str | None, wrapping: Sequence[Step]) -> bool:
        """Whether the attribute may be read when the wrap is done."""
        calls = self.analysis.call_graph
        places = self._reads["*"] + (self._reads[name] if name is not None else self._all_reads)
        return any(not runs_only_before(calls, module, node, wrapping) for module, node in places)

    @property
    def _all_reads(self) -> list[tuple[Module, ast.AST]]:
        return [place for places in self._reads.values() for place in places]

    @cached_property
    def _reads(self) -> dict[str, list[tuple[Module, ast.AST]]]:
        """The places that may read an attribute of a parameter, by the attribute's name."""
        found: dict[str, list[tuple[Module, ast.AST]]] = defaultdict(list)
        for module in self.modules:
            for node in module.parents:
                for name in self._read_at(module, node):
                    found[name].append((module, node))
        return found

    def _read_at(self, module: Module, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            value = self.analysis.value(node.value)
            if not value or not all(isinstance(atom, NO_PARAMETER) for atom in value):
                yield node.attr
            if node.attr == ATTRIBUTES and self._is_parameter(module, node.value):
                yield "*"
        elif isinstance(node, ast.Call) and node.args:
            called = symbols(self.analysis.value(node.func))
            if called & GETTERS and len(node.args) > 1:
                known = constants(self.analysis.value(node.args[1]))
                if known is not None:
                    yield from map(str, known)
                elif self._is_parameter(module, node.args[0]):
                    yield "*"
            elif called & {"builtins.vars"} and self._is_parameter(module, node.args[0]):
                yield "*"
            elif any(name.partition(".")[0] not in KNOWN for name in called):
                if any(self._is_of_model(argument) for argument in node.args):
                    yield "*"  # who knows what it looks at

    def _is_of_model(self, node: ast.expr) -> bool:
        return any(
            isinstance(atom, Wrapped)
            or (isinstance(atom, Params) and isinstance(atom.owner, Wrapped))
            for part in own_nodes(node)
            for atom in self.analysis.value(part)
        )


def kept_nothing(fact: WrapFact) -> bool:
    """Whether FSDP1 ran with flat parameters, and lost what was made of the old ones as well."""
    argument = fact.arguments.get("use_orig_params")
    if argument is None:
        return not fact.opaque
    return constants(argument.value) == [False]
