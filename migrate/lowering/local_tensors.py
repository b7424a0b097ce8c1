"""Making a computation one of this rank's own shards, as all of them were under FSDP1.

The computation is traced back from where it ends to the parameters and gradients that it begins
with, and those are asked for their local part.  Computations that meet on the way, other than by
single numbers, are made local together.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import definition, scope_of
from fsdp_migrate.analysis.library.tensors import GRADIENTS, MAKING
from fsdp_migrate.analysis.library_results import parts_given
from fsdp_migrate.analysis.values import Const, Params, Tensor, Wrapped, symbols
from fsdp_migrate.findings.code import Kept, Name, code, loop_variable
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.lowering.sharded_tensors import ShardedTensors, is_direct, is_list
from fsdp_migrate.lowering.tensor_sinks import Sink, is_collective
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

DTENSOR = Name("torch.distributed.tensor", "DTensor")
ONE = frozenset({Const.of(1), Const.of(1.0)})
MOST = 40  # beginnings that are followed


@dataclass(frozen=True)
class Local:
    """How a computation becomes that of this rank's shards."""

    edits: Mapping[Path, tuple[Edit, ...]]
    begins: frozenset[Site]  # where it begins


@dataclass(frozen=True)
class Operation:
    """One thing that is done with a tensor, or with a number made of one."""

    module: Module
    node: ast.AST
    name: str  # of a method or function, of the class of an operator, or as in `_named`
    of_number: bool
    begins: frozenset[Site]


class LocalTensors:
    """Finds where computations begin, and what has to be asked for its local part there."""

    def __init__(
        self, analysis: Analysis, sharded: ShardedTensors, plans: Mapping[Site, WrapPlan]
    ) -> None:
        self.analysis = analysis
        self.sharded = sharded
        self.plans = plans

    def of(self, sink: Sink) -> Local | None:
        """How the computation that ends in `sink` is made local, or None if that isn't clear."""
        begins = self._closed(self.begins(sink.module, sink.operand))
        if begins is None or self._goes_back(begins):
            return None
        edits: dict[Path, list[Edit]] = {}
        for site in sorted(begins):
            module, node = self._nodes.get(site, (None, None))
            if module is None or node is None or not module.rewrite:
                return None
            edit = self._local(module, node)
            if edit is None:
                return None
            edits.setdefault(module.path, []).append(edit)
        return Local({path: tuple(found) for path, found in edits.items()}, begins)

    def begins(self, module: Module, node: ast.expr) -> frozenset[Site]:
        """Where the computation of `node` begins: the places of parameters and gradients."""
        found: set[Site] = set()
        for atom in self.sharded.held(node):
            if isinstance(atom, Tensor):
                found.add(atom.origin)
            elif is_direct(atom):
                found.add(module.site(node))
        return frozenset(found)

    def is_large(self, sink: Sink) -> bool:
        """Whether what ends in `sink` may be more than single numbers."""
        lists = any(is_direct(atom) for atom in self.sharded.held(sink.operand))
        return lists or bool(self._large(sink.module, sink.operand))

    def operations(self, begins: Iterable[Site], before: Sink) -> list[Operation]:
        """What is done with what begins there, as far as it can run above `before`."""
        wanted = set(begins)
        return [o for o in self._operations if o.begins & wanted and not _is_below(o, before)]

    def models(self, begins: Iterable[Site]) -> frozenset[Wrapped]:
        """The FSDP models whose tensors those are."""
        found: set[Wrapped] = set()
        for site in begins:
            module, node = self._nodes.get(site, (None, None))
            if module is not None and node is not None:
                found |= self.sharded.models(module, node, lists=True)
        return frozenset(found)

    def node_at(self, site: Site) -> tuple[Module, ast.expr] | None:
        """The expression at `site`, and its file."""
        return self._nodes.get(site)

    # ------------------------------------------------------------------ what belongs together
    @cached_property
    def _nodes(self) -> dict[Site, tuple[Module, ast.expr]]:
        return {
            module.site(node): (module, node)
            for module in self.analysis.project.modules.values()
            for node in module.parents
            if isinstance(node, ast.expr) and self.sharded.models(module, node, lists=True)
        }

    @cached_property
    def _operators(self) -> list[tuple[Module, ast.AST, list[ast.expr]]]:
        """What computes with sharded tensors, and what with."""
        return [
            (module, node, operands)
            for module in self.analysis.project.modules.values()
            for node in module.parents
            if (operands := list(self._operands(node)))
            and any(self.sharded.models(module, o, lists=True) for o in operands)
        ]

    def _operands(self, node: ast.AST) -> Iterator[ast.expr]:
        if isinstance(node, ast.BinOp):
            yield from (node.left, node.right)
        elif isinstance(node, ast.Compare):
            yield from (node.left, *node.comparators)
        elif isinstance(node, ast.AugAssign):
            yield from (node.target, node.value)
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and self.sharded.held(node.func.value):
                yield node.func.value
            callee = self.analysis.value(node.func)
            if not symbols(callee) or any(n.startswith("torch.") for n in symbols(callee)):
                yield from (a for a in parts_given(node) if not isinstance(a, ast.Starred))

    @cached_property
    def _operations(self) -> list[Operation]:
        found: list[Operation] = []
        for module, node, operands in self._operators:
            called = symbols(self.analysis.value(node.func)) if isinstance(node, ast.Call) else ()
            if any(map(is_collective, called)):
                continue
            met = [(operand, self.begins(module, operand)) for operand in operands]
            name = self._named(node, [operand for operand, begins in met if begins])
            for operand, begins in met:
                small = not self._large(module, operand) or _is_joined(module, operand)
                found.append(Operation(module, node, name, small, begins))
        return [*found, *self._sums()]

    def _sums(self) -> Iterator[Operation]:
        """Numbers that Python's `sum` adds up."""
        for node in self.analysis.call_nodes.values():
            if "builtins.sum" in symbols(self.analysis.value(node.func)):
                module = self.analysis.call_graph.module_of(node)
                yield Operation(module, node, "sum", True, self.begins(module, node))

    def _named(self, node: ast.AST, of: list[ast.expr]) -> str:
        """What an operation is called: a product with a number that isn't computed of shards is
        "Scale", a quotient by one that is "Quotient", a power other than the second "Power"."""
        if isinstance(node, ast.BinOp | ast.AugAssign):
            second = node.right if isinstance(node, ast.BinOp) else node.value
            if isinstance(node.op, ast.Div):
                return "Quotient" if second in of else "Scale"
            if isinstance(node.op, ast.Mult) and len(of) == 1:
                return "Scale"
            if isinstance(node.op, ast.Pow) and isinstance(second, ast.Constant):
                return "Pow" if second.value == 2 else "Power"
            return type(node.op).__name__
        if not isinstance(node, ast.Call):
            return type(node).__name__
        func = node.func
        name = func.attr if isinstance(func, ast.Attribute) else path_of(func) or ""
        if name == "norm":
            given = [*node.args, *(k.value for k in node.keywords if k.arg == "p")]
            if any(map(self._is_infinite, given)):
                return "max"
            orders = [g for g in given if self.analysis.value(g) & ONE]
            return "sum" if orders else "norm"
        return name

    def _is_infinite(self, node: ast.expr) -> bool:
        """Whether `node` is infinity, which makes a norm the largest of all."""
        if isinstance(node, ast.Call) and node.args:
            return "builtins.float" in symbols(self.analysis.value(node.func)) and (
                Const.of("inf") in self.analysis.value(node.args[0])
            )
        return any(short(name) == "inf" for name in symbols(self.analysis.value(node)))

    @cached_property
    def _links(self) -> dict[Site, set[Site]]:
        """What has to be made local with each beginning: all that meets tensors that begin there.

        A plain tensor takes no number that is a DTensor; a DTensor takes one that is plain.
        """
        found: dict[Site, set[Site]] = {}
        for module, node, operands in self._operators:
            if isinstance(node, ast.Call) and not self._computes(module, node):
                continue
            met = frozenset().union(*(self.begins(module, operand) for operand in operands))
            for operand in operands:
                for site in self._large(module, operand):
                    found.setdefault(site, set()).update(met)
        return found

    def _computes(self, module: Module, call: ast.Call) -> bool:
        """Whether a call computes with tensors: a method of one, or a function of PyTorch's."""
        func = call.func
        if isinstance(func, ast.Attribute) and self._large(module, func.value):
            return True
        names = symbols(self.analysis.value(func))
        return bool(names) and not any(n.startswith("torch.distributed.") for n in names)

    def _large(self, module: Module, node: ast.expr) -> frozenset[Site]:
        """Where the tensors begin that `node` can be, single numbers apart."""
        found: set[Site] = set()
        for atom in self.analysis.value(node):
            if isinstance(atom, Tensor) and not atom.scalar:
                found.add(atom.origin)
            elif is_direct(atom) and not isinstance(atom, Tensor) and not is_list(atom):
                found.add(module.site(node))
        return frozenset(found)

    def _closed(self, begins: frozenset[Site]) -> frozenset[Site] | None:
        """`begins`, and all that it meets; None if that is too much to follow."""
        found, todo = set(begins), list(begins)
        while todo:
            new = self._links.get(todo.pop(), set()) - found
            found |= new
            todo += new
            if len(found) > MOST:
                return None
        return frozenset(found) if found else None

    def _goes_back(self, begins: frozenset[Site]) -> bool:
        """Whether what begins there becomes a parameter's own gradient or data."""
        return any(
            isinstance(target, ast.Attribute)
            and target.attr in GRADIENTS
            and self._large(module, node.value) & begins
            for module in self.analysis.project.modules.values()
            for node in module.parents
            if isinstance(node, ast.Assign)
            for target in node.targets
        )

    # ------------------------------------------------------------------ the new code
    def _local(self, module: Module, node: ast.expr) -> Edit | None:
        """The edit that makes `node` this rank's part."""
        node = self._written_out(module, node)
        if isinstance(node, ast.GeneratorExp | ast.ListComp):
            return self._local(module, node.elt)
        span = module.span(node)
        kept = Kept(span)
        if self._is_list(node):
            named = any(isinstance(a, Params) and a.kind for a in self.analysis.value(node))
            if named or not self._is_certain(module, node):
                return None
            each = loop_variable("p")
            items = code("[{each}.to_local() for {each} in {items}]", each=each, items=kept)
            return ReplaceExpression(span, items)
        if self._is_certain(module, node):
            return ReplaceExpression(span, code("{value}.to_local()", value=kept))
        node = _before_moving(node)
        if path_of(node) is None:
            return None
        span, kept = module.span(node), Kept(module.span(node))
        guarded = code(
            "{value}.to_local() if isinstance({value}, {dtensor}) else {value}",
            value=kept,
            dtensor=DTENSOR,
        )
        return ReplaceExpression(span, guarded)

    def _written_out(self, module: Module, node: ast.expr) -> ast.expr:
        """What a variable is made of that nothing but `node` reads, where that is one tensor."""
        if isinstance(node, ast.Name) and not self._is_certain(module, node):
            found = definition(module, node)
            scope = scope_of(module, node)
            if found is not None and scope is not None and isinstance(found.value, ast.IfExp):
                choice = found.value
                reads = [
                    n
                    for n in nodes_in(scope)
                    if isinstance(n, ast.Name) and n.id == node.id and isinstance(n.ctx, ast.Load)
                ]
                sharded = [b for b in (choice.body, choice.orelse) if self._large(module, b)]
                if len(reads) == 1 and len(sharded) == 1:
                    return sharded[0]
        return node

    def _is_list(self, node: ast.expr) -> bool:
        return any(is_list(atom) for atom in self.analysis.value(node))

    def _is_certain(self, module: Module, node: ast.expr) -> bool:
        """Whether `node` is nothing but sharded tensors, with none left out of the sharding."""
        plans = [
            self.plans.get(w.site) if w.site is not None else None
            for w in self.sharded.models(module, node)
        ]
        ignores = any(plan is not None and plan.has_ignored for plan in plans)
        return self.sharded.is_certain(module, node) and not ignores


def _before_moving(node: ast.expr) -> ast.expr:
    """The tensor of which `node` is a copy or a view: its part is that of the whole's."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr not in MAKING:
            break
        node = node.func.value
    return node


def _is_joined(module: Module, node: ast.expr | None) -> bool:
    """Whether `node` is numbers that are put together in one tensor, or made of such."""
    if isinstance(node, ast.Name):
        found = definition(module, node)
        return found is not None and _is_joined(module, found.value)
    if not isinstance(node, ast.Call):
        return False
    func = node.func
    if (func.attr if isinstance(func, ast.Attribute) else path_of(func)) in {"stack", "tensor"}:
        return True
    return isinstance(func, ast.Attribute) and _is_joined(module, func.value)


def _is_below(operation: Operation, sink: Sink) -> bool:
    """Whether it runs after `sink`, and never before it."""
    module, node = operation.module, operation.node
    if module is not sink.module or module.function(node) is not module.function(sink.node):
        return False
    loops = {a for a in module.ancestors(sink.node) if isinstance(a, ast.For | ast.While)}
    below = getattr(node, "lineno", 0) > (sink.node.end_lineno or 0)
    return below and loops.isdisjoint(module.ancestors(node))
