"""One run: a body is run, and what outlives it goes on the heap."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import Task
from fsdp_migrate.analysis.interpreter import ALL_STATEMENTS, Interpreter, run_task
from fsdp_migrate.analysis.solver import Solver
from fsdp_migrate.analysis.values import NONE, Const
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.project import Project
from support.programs import dedent, source

ONE = frozenset({Const.of(1)})


def started(text: str) -> Solver:
    project = Project.of([parse(source("train.py", dedent(text)), "/project/train")])
    return Solver(project, run_task)


def test_the_variables_of_a_module_are_for_everybody() -> None:
    solver = started("x = 1\n_y = 1\n")
    run_task(solver, Task("/project/train"))
    assert solver.heap.read("name", "/project/train", "x") == ONE
    assert solver.heap.read("name", "/project/train", "_y") == ONE


def test_of_a_function_only_what_inner_functions_use() -> None:
    solver = started("def f():\n    x = 1\n    y = 1\n    def g(): return x\n")
    site = next(s for s, info in solver.program.functions.items() if info.name == "f")
    run_task(solver, Task("/project/train", site))
    assert solver.heap.read("name", site, "x") == ONE
    assert not solver.heap.holds("name", site, "y")


def test_results() -> None:
    solver = started("def f():\n    return 1\ndef g(): ...\nh = lambda: 1\n")
    results = {}
    for site, info in solver.program.functions.items():
        task = Task("/project/train", site)
        run_task(solver, task)
        results[info.name] = solver.heap.read("return", task)
    assert results == {"f": ONE, "g": NONE, "": ONE}


def test_attributes_reach_the_heap_at_the_end() -> None:
    solver = started("class A:\n    def f(self):\n        self.x = 1\n")
    (cls,), (site,) = solver.program.classes, solver.program.functions
    solver.solve()
    assert solver.program.functions[site].cls == cls
    assert solver.heap.read("field", cls, "x") == ONE


def test_values_of_expressions_are_noted_over_all_runs() -> None:
    solver = started("x = 1\n")
    machine = Interpreter(solver, Task("/project/train"))
    node = ast.parse("x", mode="eval").body
    for value in (1, 2):
        machine.env["x"] = frozenset({Const.of(value)})
        assert machine.evaluate(node) == {Const.of(value)}
    assert solver.record.value(node) == {Const.of(1), Const.of(2)}


def test_every_statement_of_python_is_run_or_looked_at() -> None:
    looked = {"Pass", "Assert", "TypeAlias"}
    kinds = {kind.__name__ for kind in ast.stmt.__subclasses__()}
    assert kinds - {kind.__name__ for kind in ALL_STATEMENTS} <= looked
