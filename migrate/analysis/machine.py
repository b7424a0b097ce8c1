"""One run as the code sees it that works on it: the state, and what everything recurses through.

Statements, expressions and the models of library functions are functions that take a `Machine`.
They call each other freely within a module and downwards; what would close a circle between
modules (to evaluate an expression, to run a block, to call an object) they ask the machine for.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fsdp_migrate.analysis.heap import Task
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.solver import Solver
from fsdp_migrate.analysis.values import NOTHING, Atom, Container, Value, unknown
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

Env: TypeAlias = dict[str, Value]
"""The local variables, by name, and `self.x` paths as if they were."""
Evaluate: TypeAlias = "Callable[[Machine, Any], Value]"
"""What gives the value of a node of one type."""
Execute: TypeAlias = "Callable[[Machine, Any], None]"
"""What runs a statement of one type."""
COMPUTED = unknown("computed")


@dataclass(frozen=True)
class Passed:
    """What a call passes; `node` is None for a call that is not written anywhere."""

    args: list[Value] = field(default_factory=list)
    kwargs: dict[str, Value] = field(default_factory=dict)
    node: ast.Call | None = None
    maybe: frozenset[str] = frozenset()  # names that a dict which is spread need not have

    def argument(self, index: int, name: str) -> Value:
        """The argument that is passed at `index`, or by `name`."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, NOTHING)


class Machine(ABC):
    """The state of one run over the body of a function or module."""

    def __init__(self, solver: Solver, task: Task) -> None:
        self.solver = solver
        self.project = solver.project
        self.program = solver.program
        self.heap = solver.heap
        self.classes = solver.classes
        self.record = solver.record
        self.task = task
        self.module: Module = solver.project.modules[task.module]
        self.info: FunctionInfo | None = solver.program.functions[task.site] if task.site else None
        self.open_modes = solver.modes_of(task)
        self.env: Env = {}
        self.statement: ast.AST | None = None  # that is being run
        self.live = True  # whether the statement that comes next can be reached
        self.leaving: list[list[Env]] = [[]]  # by loop: the states at its `break`s
        self.settled: dict[ast.stmt, Env] = {}  # by loop: the last state at its start
        self.cls: Site | None = None  # the class whose body is being run
        self.outward: set[str] = set()  # names declared global or nonlocal
        self.asked: set[str] = set()  # modules that a star import is being followed into

    @abstractmethod
    def evaluate(self, node: ast.expr) -> Value:
        """The value of an expression, noted for the rules."""

    @abstractmethod
    def block(self, body: list[ast.stmt]) -> None:
        """Run statements in order."""

    @abstractmethod
    def call(self, callee: Atom, passed: Passed) -> Value:
        """What calling one object gives."""

    def container(self, node: ast.AST, kind: str) -> Container:
        """The container that `node` makes."""
        return Container(self.module.site(node), kind)
