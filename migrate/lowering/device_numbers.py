"""Whether what a program gives for a device is one of several: a number, or a device with one.

Asked of the values first; where those aren't followed, of how the variable is made and used.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Const,
    Instance,
    Method,
    Result,
    symbols,
)
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.nodes import nodes_in

DEVICE = "torch.device"
# Functions of libraries that give whole numbers.
COUNTS = frozenset(
    {
        "builtins.int",
        "builtins.len",
        "torch.cuda.current_device",
        "torch.cuda.device_count",
        "torch.distributed.get_node_local_rank",
        "torch.distributed.get_rank",
        "torch.distributed.get_world_size",
    }
)
SPAWN = frozenset({"torch.multiprocessing.spawn", "torch.multiprocessing.start_processes"})
RANGES = frozenset({"builtins.range"})


def has_number(analysis: Analysis, module: Module, node: ast.expr) -> bool | None:
    """Whether `node` is the number of a device, or a device with one; None if it isn't known."""
    return _Numbers(analysis, module).of(node)


def _all(answers: Iterable[bool | None]) -> bool | None:
    """What all answers agree on."""
    found = set(answers)
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class _Numbers:
    analysis: Analysis
    module: Module
    seen: frozenset[ast.AST] = frozenset()  # so that `rank = rank % n` comes to an end

    def of(self, node: ast.expr) -> bool | None:
        """Whether an expression is a number or has one."""
        value = self.analysis.value(node) - NONE
        known = _all(self._atom(atom) for atom in value) if value else None
        return known if known is not None else self._written(node)

    def _written(self, node: ast.expr) -> bool | None:
        """The same by how it is written, where the values aren't followed."""
        if isinstance(node, ast.IfExp):
            return _all(self.of(n) for n in (node.body, node.orelse) if not _is_none(n))
        if isinstance(node, ast.NamedExpr):
            return self.of(node.value)
        if isinstance(node, ast.BinOp):
            return self._is_arithmetic(node) or None
        if isinstance(node, ast.Call) and symbols(self.analysis.value(node.func)) == {DEVICE}:
            return self._device(node)
        if isinstance(node, ast.Name) and node not in self.seen:
            return self._variable(node)
        if isinstance(node, ast.Attribute):
            return self._is_option(node) or self._is_field(node) or None
        return None

    # ------------------------------------------------------------------ values
    def _atom(self, atom: Atom) -> bool | None:
        if isinstance(atom, Const):
            if isinstance(atom.value, str):
                return ":" in atom.value
            return True if isinstance(atom.value, int) and atom.kind == "int" else None
        if isinstance(atom, Result) and atom.symbol in COUNTS:
            return True
        if isinstance(atom, Result) and atom.symbol == DEVICE:
            call = self.analysis.call_nodes.get(atom.site)
            return self._device(call) if call is not None else None
        return None

    def _device(self, call: ast.Call) -> bool | None:
        """Whether `torch.device(...)` has a number."""
        words = [*call.args, *(k.value for k in call.keywords)]
        if not words or any(isinstance(word, ast.Starred) for word in words):
            return None
        if len(words) > 1:
            return True
        if isinstance(words[0], ast.JoinedStr):
            return any(isinstance(part, ast.FormattedValue) for part in words[0].values)
        return self.of(words[0])

    # ------------------------------------------------------------------ expressions
    def _is_arithmetic(self, node: ast.BinOp) -> bool:
        """Whether an operation can have no result but a number (or a text with one)."""
        if isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            return isinstance(node.op, ast.Mod | ast.Add) and node.left.value.startswith("cuda:")
        return any(self._is_count(side) for side in (node.left, node.right))

    def _is_count(self, node: ast.expr) -> bool:
        value = self.analysis.value(node)
        return bool(value) and all(
            (isinstance(a, Result) and a.symbol in COUNTS)
            or (isinstance(a, Const) and a.kind == "int")
            for a in value
        )

    def _is_option(self, node: ast.Attribute) -> bool:
        """Whether an option of the command line of that name takes a whole number."""
        for call in self.analysis.call_nodes.values():
            if not isinstance(call.func, ast.Attribute) or call.func.attr != "add_argument":
                continue
            if not any(
                isinstance(a, Method) and isinstance(a.receiver, Result)
                for a in self.analysis.value(call.func)
            ):
                continue
            kinds = [k.value for k in call.keywords if k.arg == "type"]
            if kinds and symbols(self.analysis.value(kinds[0])) == {"builtins.int"}:
                if node.attr in _destinations(call):
                    return True
        return False

    def _is_field(self, node: ast.Attribute) -> bool:
        """Whether the fields of that name are declared as whole numbers."""
        owners = self.analysis.value(node.value) - NONE
        return bool(owners) and all(
            isinstance(owner, Instance)
            and any(
                isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and item.target.id == node.attr
                and _is_int(item.annotation)
                for cls in self.analysis.lineage(owner.cls)
                for item in self.analysis.classes[cls].node.body
            )
            for owner in owners
        )

    # ------------------------------------------------------------------ variables
    def _variable(self, node: ast.Name) -> bool | None:
        scope = scope_of(self.module, node)
        if scope is None:
            return None
        if self._counts_in(scope, node.id):
            return True
        deeper = _Numbers(self.analysis, self.module, self.seen | {node})
        return _all(deeper._binding(scope, bound) for bound in bindings(scope, node.id))

    def _counts_in(self, scope: Scope, name: str) -> bool:
        """Whether the variable is compared to a whole number, or is the rank of the process."""
        for node in nodes_in(scope):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                named = any(isinstance(side, ast.Name) and side.id == name for side in sides)
                if named and any(self._is_count(side) for side in sides):
                    return True
            elif isinstance(node, ast.Call):
                called = symbols(self.analysis.value(node.func))
                if called == {"torch.distributed.init_process_group"} and any(
                    k.arg == "rank" and isinstance(k.value, ast.Name) and k.value.id == name
                    for k in node.keywords
                ):
                    return True
        return False

    def _binding(self, scope: Scope, bound: ast.AST) -> bool | None:
        parent = self.module.parents.get(bound)
        if isinstance(bound, ast.arg):
            if bound.annotation is not None and _is_int(bound.annotation):
                return True
            return True if self._is_spawned(scope, bound) else None
        if isinstance(parent, ast.Assign) and bound in parent.targets:
            return self.of(parent.value)
        if isinstance(parent, ast.AnnAssign):
            return True if _is_int(parent.annotation) else None
        if isinstance(parent, ast.For | ast.comprehension) and isinstance(parent.iter, ast.Call):
            return symbols(self.analysis.value(parent.iter.func)) <= RANGES or None
        return None

    def _is_spawned(self, scope: Scope, parameter: ast.arg) -> bool:
        """Whether `parameter` is the rank that spawned processes are given first."""
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            return False
        first = [*scope.args.posonlyargs, *scope.args.args][:1]
        site = self.module.site(scope)
        return parameter in first and any(
            getattr(atom, "site", None) == site
            for call in self.analysis.call_nodes.values()
            if symbols(self.analysis.value(call.func)) & SPAWN
            for atom in self.analysis.value(_spawned(call))
        )


def _spawned(call: ast.Call) -> ast.expr | None:
    given = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "fn")]
    return given[0] if given else None


def _destinations(call: ast.Call) -> Iterator[str]:
    """The names under which an option is stored."""
    for keyword in call.keywords:
        if keyword.arg == "dest" and isinstance(keyword.value, ast.Constant):
            yield str(keyword.value.value)
    for argument in call.args:
        if isinstance(argument, ast.Constant):
            yield str(argument.value).lstrip("-").replace("-", "_")


def _is_int(annotation: ast.expr) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id == "int"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
