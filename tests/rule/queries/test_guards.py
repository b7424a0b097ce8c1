"""Conditions that may keep ranks away, and whether they are proven not to."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.bare_modules import may_be_bare
from fsdp_migrate.rule.queries.conditions import conditions
from fsdp_migrate.rule.queries.guards import can_be_taken_above, guard_of
from fsdp_migrate.rule.queries.uniform import is_uniform
from support.facts import Program
from support.programs import dedent

HEAD = """
import argparse
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

args = argparse.ArgumentParser().parse_args()
model = FSDP(net)
"""


def program(text: str) -> Program:
    return Program(HEAD + dedent(text))


@pytest.mark.parametrize(
    ("text", "test", "expected"),
    [
        ("if args.save:\n    pass", "args.save", True),
        ("if args.local_rank:\n    pass", "args.local_rank", False),
        ("args.chief = dist.get_rank() == 0\nif args.chief:\n    pass", "args.chief", False),
        ("every = 5\nif every > 3:\n    pass", "every > 3", True),
        ("flag = False\nif dist.get_rank() == 0:\n    flag = True\nprint(flag)", "flag", False),
        ("for i in range(9):\n    print(i % 3 == 0)", "i % 3 == 0", True),
        ("for i, x in enumerate(xs):\n    print(i > 3, x)", "i > 3", True),
        ("for i, x in enumerate(xs):\n    print(i > 3, x > 2)", "x > 2", False),
        ("n = 0\nfor x in xs:\n    n += 1\n    print(n % 2)", "n % 2", True),
        ("n = 0\nwhile unknown:\n    n += 1\nprint(n % 2)", "n % 2", False),
        ("print(__name__ == '__main__')", "__name__ == '__main__'", True),
        ("print(dist.get_world_size() > 1)", "dist.get_world_size() > 1", True),
        ("print(os.environ['RANK'])", "os.environ['RANK']", False),
        ("def f(a, b=3):\n    print(a, b)\nf(args)", "b", True),
        ("def f(a, *, b):\n    print(b)\nf(1, b=dist.get_rank())", "b", False),
        ("def f(a):\n    print(a.save)\nf(args)", "a.save", True),
        ("def f(a):\n    print(a.save)", "a.save", False),
        ("def even(n):\n    return n % 2 == 0\nprint(even(4))", "even(4)", True),
        ("def first():\n    return dist.get_rank() == 0\nprint(first())", "first()", False),
        ("print(xs[0])", "xs[0]", False),
    ],
)
def test_is_uniform(text: str, test: str, expected: bool) -> None:
    found = program(text)
    assert is_uniform(found.facts, found.module(), found.node(test)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if a:\n    if b:\n        mark()", ["b", "a"]),
        ("if a:\n    pass\nelif b:\n    mark()", ["b", "a"]),
        ("if a:\n    return\nmark()", ["a"]),
        ("for x in xs:\n    if a:\n        continue\n    mark()", ["a"]),
        ("with c:\n    if a:\n        raise b\nmark()", ["a"]),
        ("a and b and mark()", ["a", "b"]),
        ("mark() if a else b", ["a"]),
        ("while a:\n    mark()", ["a"]),
        ("match a:\n    case 1 if b:\n        mark()", ["a", "b"]),
        ("x = [mark() for y in z if a]", ["a"]),
        ("if mark():\n    pass", []),
    ],
)
def test_conditions(text: str, expected: list[str]) -> None:
    body = "\n".join(f"    {line}" for line in text.splitlines())
    found = Program(f"def f():\n{body}\n")
    every = conditions(found.module(), found.call("mark()"))
    assert [ast.unparse(condition.node) for condition in every] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if chief:\n    mark()", ("if chief:", [])),
        ("if args.save and chief:\n    mark()", ("if args.save and chief:", ["args.save"])),
        ("if chief:\n    if args.save:\n        mark()", ("if chief:", ["args.save"])),
        ("if args.save:\n    mark()", None),
        ("if train:\n    model(x).sum().backward()\n    mark()", None),
        ("if not train:\n    exit()\nmodel(x).backward()\nmark()", None),
        ("def f():\n    mark()\nif chief:\n    f()", (None, [])),
        ("while chief:\n    mark()", (None, [])),
        ("try:\n    pass\nexcept ValueError:\n    mark()", (None, [])),
    ],
)
def test_guard_of(text: str, expected: tuple[str | None, list[str]] | None) -> None:
    found = program(text)
    guard = guard_of(found.facts, found.module(), found.call("mark()"))
    if guard is None or expected is None:
        assert guard is None
        assert expected is None
        return
    above = ast.unparse(guard.above).splitlines()[0] if guard.above is not None else None
    assert (above, [ast.unparse(test) for test in guard.first]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if chief:\n    print(1)\n    mark(model)", True),
        ("if chief:\n    model = FSDP(net)\n    mark(model)", False),
        ("if chief:\n    model.load_state_dict(x)\n    mark(model)", False),
        ("if chief: mark(model)", True),
        ("print(1); mark(model) if chief else None", False),
    ],
)
def test_can_be_taken_above(text: str, expected: bool) -> None:
    found = program(text)
    call = found.call("mark(model)")
    guard = guard_of(found.facts, found.module(), call)
    assert guard is not None
    assert can_be_taken_above(found.facts, guard, call, call.args[0]) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mark(model)", False),
        ("mark(model.module)", True),
        ("raw = model.module\nmark(raw)", True),
        ("mark(model.eval())", False),
        ("mark(model.module if a else model)", True),
        ("def bare(m):\n    return m.module\nmark(bare(model))", True),
        ("def same(m):\n    return m\nmark(same(model))", False),
        ("for m in (model.module, model):\n    mark(m)", True),
        ("def f(m):\n    mark(m)\nf(model)", False),
        ("def f(m):\n    mark(m)\nf(model.module)", True),
        ("class A:\n    def f(self):\n        self.m = model.module\n        mark(self.m)", True),
        ("class A:\n    def f(self):\n        self.m = model\n        mark(self.m)", False),
    ],
)
def test_may_be_bare(text: str, expected: bool) -> None:
    found = program(text)
    (call,) = [n for n in ast.walk(found.module().tree) if _is_mark(n)]
    assert isinstance(call, ast.Call)
    assert may_be_bare(found.facts, found.module(), call.args[0]) is expected


def _is_mark(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "mark"
