"""Work is counted, not timed: what a program costs grows as it does, not with its square."""

from __future__ import annotations

import math
from collections.abc import Callable
from unittest.mock import patch

import pytest

from fsdp_migrate.analysis.analysis import analyse
from fsdp_migrate.analysis.interpreter import Interpreter
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.project import Project
from support.programs import source

HEAD = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"


def _nested_loops(depth: int) -> str:
    lines = [f"{'    ' * n}for x{n} in items{n}:\n" for n in range(depth)]
    return f"def f(y):\n{indent(''.join(lines))}{'    ' * (depth + 1)}y = g(y)\n"


def indent(text: str) -> str:
    """`text`, one level further in."""
    return "".join(f"    {line}" for line in text.splitlines(keepends=True))


def _chain(length: int) -> str:
    calls = "".join(f"def f{n}(x):\n    return f{n + 1}(x)\n" for n in range(length))
    return f"{calls}def f{length}(x):\n    return FSDP(x)\n"


def _functions(count: int) -> str:
    return "".join(f"def f{n}(x):\n    y = x\n    return y\n" for n in range(count))


def _wraps(count: int) -> str:
    return "def f(x):\n" + "".join(f"    m{n} = FSDP(x.part{n})\n" for n in range(count))


def _choices(depth: int) -> str:
    lines = [f"{'    ' * n}if x == {n}:\n{'    ' * (n + 1)}m = FSDP(x)\n" for n in range(depth)]
    return f"def f(x):\n{indent(''.join(lines))}"


def _dicts(depth: int) -> str:
    return f"d = {'{1: ' * depth}FSDP(x){'}' * depth}\n"


def _classes(depth: int) -> str:
    made = (
        f"class C{n + 1}(C{n}):\n    def f{n}(self):\n        self.x{n} = FSDP(self.x)\n"
        for n in range(depth)
    )
    return f"class C0: ...\n{''.join(made)}"


def _work(text: str) -> int:
    """The expressions that are evaluated to understand a program."""
    project = Project.of([parse(source("train.py", HEAD + text), "/project/train")])
    counted = 0
    evaluate = Interpreter.evaluate

    def count(self: Interpreter, node: object) -> object:
        nonlocal counted
        counted += 1
        return evaluate(self, node)  # type: ignore[arg-type]

    with patch.object(Interpreter, "evaluate", count):
        analyse(project)
    return counted


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (_chain, 80),
        (_choices, 8),
        (_classes, 10),
        (_dicts, 8),
        (_functions, 40),
        (_wraps, 20),
    ],
)
def test_work_grows_like_the_program(make: Callable[[int], str], size: int) -> None:
    assert _exponent(make, size) <= 1.1


def _exponent(make: Callable[[int], str], size: int) -> float:
    small, large = _work(make(size)), _work(make(2 * size))
    growth = len(make(2 * size)) / len(make(size))
    return math.log(large / small) / math.log(growth)


def test_loops_in_loops_do_not_double_at_each_level() -> None:
    assert _work(_nested_loops(10)) <= 3 * _work(_nested_loops(5))
