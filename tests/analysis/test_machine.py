"""The state of a run, as what works on it finds it."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from fsdp_migrate.analysis.heap import Task
from fsdp_migrate.analysis.interpreter import Interpreter, run_task
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.solver import Solver
from fsdp_migrate.analysis.values import NOTHING, Const
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.project import Project
from support.programs import source


def test_what_a_call_passes() -> None:
    one, two = frozenset({Const.of(1)}), frozenset({Const.of(2)})
    passed = Passed([one], {"args": two})
    assert passed.argument(0, "fn") == one
    assert passed.argument(1, "args") == two
    assert passed.argument(2, "join") == NOTHING
    assert Passed().node is None


def test_a_run_starts_with_nothing_but_its_task() -> None:
    project = Project.of([parse(source("train.py", "def f(x): return [x]"), "/project/train")])
    solver = Solver(project, run_task)
    (site,) = solver.program.functions
    machine = Interpreter(solver, Task("/project/train", site))
    assert machine.info is solver.program.functions[site]
    assert machine.env == {}
    assert machine.live
    assert machine.open_modes == {None}
    node = ast.parse("[1]", mode="eval").body
    assert machine.container(node, "list").site.module == "/project/train"


def test_the_state_alone_runs_nothing() -> None:
    make: Any = Machine
    with pytest.raises(TypeError, match="abstract"):
        make(None, Task("/project/train"))
