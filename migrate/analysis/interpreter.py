"""One run over the body of a function or module: statements and expressions to values."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.assignment import flush_attributes
from fsdp_migrate.analysis.control_flow import COMPOUND
from fsdp_migrate.analysis.expressions import evaluate
from fsdp_migrate.analysis.heap import Task
from fsdp_migrate.analysis.library.calls import call
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.parameters import bind_parameters
from fsdp_migrate.analysis.scopes import expose
from fsdp_migrate.analysis.solver import Solver
from fsdp_migrate.analysis.statements import STATEMENTS, look
from fsdp_migrate.analysis.values import NONE, Atom, Value

ALL_STATEMENTS = {**STATEMENTS, **COMPOUND}


class Interpreter(Machine):
    """Runs a body, and puts what outlives it on the heap."""

    def run(self) -> None:
        """Run the body of the task."""
        if self.info is None:
            self.block(self.module.tree.body)
            expose(self)
            return
        node = self.info.node
        bind_parameters(self, self.info)
        if isinstance(node, ast.Lambda):
            self.statement = node.body
            self.heap.write(self.evaluate(node.body), "return", self.task)
        else:
            self.block(node.body)
            if self.live and not self.info.is_generator:
                self.heap.write(NONE, "return", self.task)
        expose(self)
        flush_attributes(self)

    def evaluate(self, node: ast.expr) -> Value:
        """The value of an expression, noted for the rules."""
        return evaluate(self, node)

    def block(self, body: list[ast.stmt]) -> None:
        """Run statements in order, those after a `return` too: nothing may be missed."""
        for statement in body:
            self.live = True
            self.statement = statement
            ALL_STATEMENTS.get(type(statement), look)(self, statement)

    def call(self, callee: Atom, passed: Passed) -> Value:
        """What calling one object gives."""
        return call(self, callee, passed)


def run_task(solver: Solver, task: Task) -> None:
    """Run `task` once."""
    Interpreter(solver, task).run()
