"""Where sharded tensors meet something that takes none of their kind."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from dataclasses import dataclass
from enum import Enum

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.tensors import GRADIENTS, owner_of
from fsdp_migrate.analysis.library_results import parts_given
from fsdp_migrate.analysis.values import Method, Params, Result, Symbol, Tensor, Unknown, symbols
from fsdp_migrate.lowering.sharded_tensors import ShardedTensors, is_direct, is_list
from fsdp_migrate.lowering.tensor_functions import (
    COLLECTIVES,
    CREATING,
    FLATTENING,
    FOREIGN_TENSORS,
    JOINING,
    LOGGING,
    REFUSED,
    REFUSED_METHODS,
    SHAPED,
    WITHOUT_GRADIENT,
    is_foreign,
)
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import children, nodes_in


class SinkKind(Enum):
    """What becomes of a sharded tensor in the end."""

    REFUSED = "it is given to what takes no DTensors"
    FLAT = "it is flattened or joined, which DTensors are only where they are cut evenly"
    PLAIN = "it is added into a plain tensor"
    COLLECTIVE = "it is communicated"
    LOSS = "a gradient is taken of it"
    MIXED = "it is computed with together with a plain tensor"
    UNKNOWN = "it is given to what is not known"


@dataclass(frozen=True)
class Sink:
    """One place where a sharded tensor ends up."""

    module: Module
    node: ast.expr | ast.AugAssign  # the place to speak of
    operand: ast.expr  # the sharded tensor, or the list of them
    kind: SinkKind
    name: str = ""  # of what it is given to


class TensorSinks:
    """Finds the places."""

    def __init__(self, analysis: Analysis, sharded: ShardedTensors) -> None:
        self.analysis = analysis
        self.sharded = sharded

    def all(self) -> Iterator[Sink]:
        """The places in the files that may be rewritten."""
        for module in self.analysis.project.modules.values():
            if module.rewrite:
                for node in module.parents:
                    yield from self._at(module, node)

    def _at(self, module: Module, node: ast.AST) -> Iterator[Sink]:
        if isinstance(node, ast.Call):
            yield from self._method(module, node)
            yield from self._arguments(module, node)
            yield from self._differentiated(module, node)
        elif isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            if self._is_tensor(module, node.value):
                yield Sink(module, node.value, node.value, SinkKind.REFUSED, "a format")
        elif isinstance(node, ast.AugAssign):
            if self._is_plain(node.target) and self._is_tensor(module, node.value):
                yield Sink(module, node, node.value, SinkKind.PLAIN)
        elif isinstance(node, ast.BinOp):
            for one, other in ((node.left, node.right), (node.right, node.left)):
                if self._is_plain(one, SHAPED) and self._is_large(module, other):
                    yield Sink(module, node, other, SinkKind.MIXED)

    # ------------------------------------------------------------------ calls
    def _method(self, module: Module, call: ast.Call) -> Iterator[Sink]:
        """Methods of a sharded tensor, and methods of a plain one that are given one."""
        func = call.func
        if not isinstance(func, ast.Attribute):
            return
        if func.attr in REFUSED_METHODS and self._is_tensor(module, func.value):
            yield Sink(module, call, func.value, SinkKind.REFUSED, f"`.{func.attr}()`")
        elif func.attr in FLATTENING and self._is_large(module, func.value):
            yield Sink(module, call, func.value, SinkKind.FLAT, f"`.{func.attr}()`")
        elif self._is_large(module, func.value):
            for argument in call.args:
                if self._is_plain(argument, SHAPED):
                    yield Sink(module, call, argument, SinkKind.MIXED)
        elif func.attr.endswith("_") and self._is_plain(func.value):
            for argument in call.args:
                if self._is_tensor(module, argument):
                    yield Sink(module, call, argument, SinkKind.PLAIN)

    def _arguments(self, module: Module, call: ast.Call) -> Iterator[Sink]:
        """What is given to functions of libraries, and to what nobody knows."""
        callee = self.analysis.value(call.func)
        names = symbols(callee)
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        for argument in parts_given(call):
            if isinstance(argument, ast.Starred):
                argument = argument.value
            if not self.sharded.models(module, argument, lists=True):
                continue
            kind = self._given_to(module, call, argument)
            if kind is not None:
                name = min(names) if names else f".{method}()"
                yield Sink(module, call, argument, kind, f"`{name.removeprefix('builtins.')}`")

    def _given_to(self, module: Module, call: ast.Call, argument: ast.expr) -> SinkKind | None:
        """What a function does with tensors that it is given."""
        names = symbols(self.analysis.value(call.func))
        if any(is_collective(name) for name in names):
            return SinkKind.COLLECTIVE
        if names & REFUSED or names & FOREIGN_TENSORS:
            return SinkKind.REFUSED
        if names & JOINING and self._is_large(module, argument, lists=True):
            return SinkKind.FLAT
        is_one = self._is_tensor(module, argument)
        if any(map(is_foreign, names)):
            computed = any(isinstance(a, Tensor) for a in self.sharded.held(argument))
            return SinkKind.REFUSED if is_one or computed else None
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if is_one and (method in LOGGING or _is_format(call)):
            return SinkKind.REFUSED
        return SinkKind.UNKNOWN if is_one and self._takes_unknown(call, argument) else None

    def _takes_unknown(self, call: ast.Call, argument: ast.expr) -> bool:
        """Whether it isn't known what `call` does with a gradient, or what is computed of one."""
        if not any(isinstance(a, Tensor | Method) for a in self.analysis.value(argument)):
            return False
        callee = self.analysis.value(call.func)
        if isinstance(call.func, ast.Attribute):  # a list of unknown origin keeps what it is given
            return False
        return bool(callee) and all(isinstance(a, Unknown) for a in callee)

    # ------------------------------------------------------------------ gradients
    def _differentiated(self, module: Module, call: ast.Call) -> Iterator[Sink]:
        """`loss.backward()`, with a term in the loss that is made of parameters."""
        names = symbols(self.analysis.value(call.func))
        is_method = isinstance(call.func, ast.Attribute) and call.func.attr == "backward"
        if not is_method and not names & {"torch.autograd.backward", "torch.autograd.grad"}:
            return
        parts = [*parts_given(call)]
        if isinstance(call.func, ast.Attribute):
            parts.append(call.func.value)
        todo: list[ast.AST] = [*parts]
        for node in todo:
            if isinstance(node, ast.expr) and any(
                isinstance(atom, Tensor) for atom in self.analysis.value(node)
            ):
                yield Sink(module, call, node, SinkKind.LOSS)
            else:
                todo += children(node)

    # ------------------------------------------------------------------ what expressions are
    def _is_tensor(self, module: Module, node: ast.expr) -> bool:
        """Whether `node` can be one sharded tensor."""
        atoms = [a for a in self.analysis.value(node) if not is_list(a)]
        return any(self.sharded.wraps_of(module, node, a) for a in atoms) and bool(
            self.sharded.models(module, node)
        )

    def _is_large(self, module: Module, node: ast.expr, lists: bool = False) -> bool:
        """Whether `node` can be one that is more than a single number."""
        atoms = self.sharded.held(node) if lists else self.analysis.value(node)
        return bool(self.sharded.models(module, node, lists)) and any(
            owner_of(a) is not None
            and (is_direct(a) or (isinstance(a, Tensor) and not a.scalar))
            and (lists or not is_list(a))
            for a in atoms
        )

    def _is_plain(self, node: ast.expr, functions: Set[str] = CREATING) -> bool:
        """Whether `node` can be a tensor that the program has made itself."""
        return any(
            isinstance(atom, Result) and atom.symbol in functions
            for atom in self.analysis.value(node)
        )


def _is_format(call: ast.Call) -> bool:
    """Whether `call` is `"{:.3f}".format(...)`."""
    func = call.func
    return (
        isinstance(func, ast.Attribute)
        and func.attr == "format"
        and isinstance(func.value, ast.Constant)
        and isinstance(func.value.value, str)
        and ":" in func.value.value
    )


def is_collective(name: str) -> bool:
    """Whether a library's function communicates tensors between the ranks."""
    return name.startswith("torch.distributed.") and short(name) in COLLECTIVES


def has_gradient(analysis: Analysis, module: Module, node: ast.expr) -> bool:
    """Whether what is computed from `node` is part of the graph that gradients are taken of."""
    for inner in nodes_in(node):
        if isinstance(inner, ast.Attribute) and inner.attr in WITHOUT_GRADIENT | GRADIENTS:
            return False
    if not any(isinstance(a, Params) for a in analysis.value(node)):
        return False
    return not any(
        isinstance(around, ast.With)
        and any(
            isinstance(atom, Result | Symbol)
            and short(getattr(atom, "symbol", "") or getattr(atom, "name", "")) in WITHOUT_GRADIENT
            for item in around.items
            for atom in analysis.value(item.context_expr)
        )
        for around in module.ancestors(node)
    )
