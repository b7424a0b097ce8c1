"""Windows without gradient synchronisation: which there are, and what need not be done."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.no_sync_contexts import find_stack_entry, find_window
from fsdp_migrate.rule.queries.no_sync_windows import find_windows, may_be_nested
from support.facts import Program

HEAD = """
import contextlib
from contextlib import ExitStack, nullcontext

import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(torch.nn.Linear(2, 2))
"""


def program(text: str) -> Program:
    """A program with one FSDP model."""
    return Program(HEAD + text)


# ---------------------------------------------------------------------- how it is entered
@pytest.mark.parametrize(
    ("text", "test", "negated"),
    [
        ("with model.no_sync(): x", None, False),
        ("with model.no_sync() if x else nullcontext(): x", "x", True),
        ("with nullcontext() if x else model.no_sync(): x", "x", False),
        ("with (model.no_sync if x else nullcontext)(): x", "x", True),
        ("with FSDP.no_sync(model): x", None, False),
        ("c = model.no_sync()\nwith c: x", None, False),
        ("c = model.no_sync\nwith c(): x", None, False),
        ("if x:\n    c = nullcontext()\nelse:\n    c = model.no_sync()\nwith c: x", "x", False),
    ],
)
def test_windows_that_are_seen(text: str, test: str | None, negated: bool) -> None:
    found = program(f"x = input()\n{text}\n")
    window = find_window(found.use("no_sync"), found.facts)
    assert window is not None
    assert (ast.unparse(window.test) if window.test is not None else None) == test
    assert window.choice.negated is negated
    assert len(window.entries) == 1


@pytest.mark.parametrize(
    "text",
    [
        "with model.no_sync() as c: x",
        "with model.no_sync() if x else open(x): x",
        "with x(model.no_sync()): x",
        "c = model.no_sync()\nwith c: x\nprint(c)",
        "c = [model.no_sync()]",
        "with {0: model}[len(x)].no_sync(): x",
        "async def f():\n    async with model.no_sync(): x",
    ],
)
def test_windows_that_are_not(text: str) -> None:
    found = program(f"x = input()\n{text}\n")
    assert find_window(found.use("no_sync"), found.facts) is None


def test_a_stored_context_may_be_entered_several_times() -> None:
    found = program("c = model.no_sync\nwith c(): 1\nprint(2)\nwith c(), open('f'): 3\n")
    window = find_window(found.use("no_sync"), found.facts)
    assert window is not None
    assert len(window.entries) == 2
    assert not window.is_stored_beside


def test_a_stack_of_another_kind_is_none() -> None:
    for kind, known in (("ExitStack", True), ("contextlib.AsyncExitStack", False)):
        found = program(f"with {kind}() as stack:\n    stack.enter_context(model.no_sync())\n")
        assert (find_stack_entry(found.use("no_sync"), found.facts) is not None) is known


# ---------------------------------------------------------------------- all of them together
def test_the_flag_stays_where_every_backward_pass_sets_it() -> None:
    found = program("with model.no_sync():\n    model(1).backward()\n")
    windows = find_windows(found.facts)
    (window,) = windows.by_use.values()
    assert windows.stays(window)


@pytest.mark.parametrize(
    "text",
    [
        "model(1).backward()",
        "torch.autograd.grad(model(1), [])",
        "from torch.autograd import grad as slope\nslope(model(1), [])",
        "from torch.autograd import backward\nbackward(model(1))",
        "engine.manual_backward(model(1))",
        "import trainers\ntrainers.fit(model)",
    ],
)
def test_the_flag_is_set_again_where_another_pass_may_run(text: str) -> None:
    found = program(f"with model.no_sync():\n    model(1).backward()\n{text}\n")
    windows = find_windows(found.facts)
    (window,) = windows.by_use.values()
    assert not windows.stays(window)


def test_a_function_called_backward_is_no_pass_by_itself() -> None:
    found = program("""
def backward(loss):
    loss.backward()


with model.no_sync():
    backward(model(1))
""")
    windows = find_windows(found.facts)
    (window,) = windows.by_use.values()
    assert windows.stays(window)


def test_a_window_inside_of_another_one_does_nothing() -> None:
    found = program("with model.no_sync():\n    with model.no_sync():\n        1\n")
    inner, outer = (find_windows(found.facts).by_use[found.use("no_sync", i)] for i in (1, 0))
    assert inner.idle
    assert not outer.idle


def test_a_window_below_one_of_a_caller_is_left_to_the_shim() -> None:
    found = program("""
def step():
    with model.no_sync():
        model(1).backward()


with torch.no_grad(), model.no_sync():
    step()
""")
    use = found.use("no_sync", 0)
    assert may_be_nested(use, found.facts)
    assert use not in find_windows(found.facts).by_use


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("with open('f') as model, model.no_sync(): x", False),
        ("with model.no_sync():\n    model = FSDP(x)", False),
        ("with open('f') as c, model.no_sync() if c else nullcontext(): x", False),
        ("with open(y := x), model.no_sync() if y else nullcontext(): x", False),
        ("with model.no_sync() if x else nullcontext(), open('f') as x: x", True),
        ("with open('f') as c, model.no_sync() if x else nullcontext(): x", True),
    ],
)
def test_names_that_the_statement_binds(text: str, simple: bool) -> None:
    """What is written above the statement reads no name that is bound in it."""
    lines = text.replace("\n", "\n    ")
    found = program(f"def f(x):\n    model = FSDP(torch.nn.Linear(2, 2))\n    {lines}\n")
    assert bool(find_windows(found.facts).by_use) is simple


def test_an_exception_that_is_caught_makes_a_guard() -> None:
    text = "with model.no_sync():\n    model(1).backward()\n"
    for caught in (False, True):
        lines = text.replace("\n", "\n    ")
        found = program(f"try:\n    {lines}\nexcept OSError:\n    1\n" if caught else text)
        windows = find_windows(found.facts)
        (window,) = windows.by_use.values()
        assert (window.statements[0] in windows.guarded) is caught
