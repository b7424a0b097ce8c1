"""Arguments that are changed where they stand."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from fsdp_migrate.findings.arguments import Arguments
from fsdp_migrate.rewriting.legacy import typed
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.source import Source
from support.codes import edited

Change = Callable[[Arguments], None]


def changed(text: str, change: Change) -> str:
    """`text` with the arguments of its first call or dict display changed."""
    module = parse(Source(Path("train.py"), text), "train")
    node = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Call | ast.Dict))
    arguments = Arguments(module, node)
    change(arguments)
    return edited(text, [typed(arguments.edit())])


def drop_a(arguments: Arguments) -> None:
    arguments.drop("a")


def add_v(arguments: Arguments) -> None:
    arguments.put("v", "2")


def lead_v(arguments: Arguments) -> None:
    arguments.put("v", "2", first=True)


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (drop_a, "f(a=1)\n", "f()\n"),
        (drop_a, "f(a=1, b=2)\n", "f(b=2)\n"),
        (drop_a, "f(b=2, a=1)\n", "f(b=2)\n"),
        (drop_a, "f(b=2, a=1,)\n", "f(b=2)\n"),
        (drop_a, "f(\n    b=2,\n    a=1\n)\n", "f(\n    b=2\n)\n"),
        (drop_a, "f(\n    b=2,\n    a=1,\n)\n", "f(\n    b=2,\n)\n"),
        (drop_a, "f(\n    a=1,\n    # on b\n    b=2,\n)\n", "f(\n    # on b\n    b=2,\n)\n"),
        (drop_a, "f(a=1,\n  b=2)\n", "f(\n  b=2)\n"),
        (drop_a, "x = {'a': 1, 'b': 2}\n", "x = {'b': 2}\n"),
        (add_v, "f()\n", "f(v=2)\n"),
        (add_v, "f(1)\n", "f(1, v=2)\n"),
        (add_v, "f(1,)\n", "f(1, v=2,)\n"),
        (add_v, "f(\n    1\n)\n", "f(\n    1,\n    v=2\n)\n"),
        (add_v, "f(\n    1,  # one\n)\n", "f(\n    1,  # one\n    v=2,\n)\n"),
        (add_v, "f((1), b=((2)))\n", "f((1), b=((2)), v=2)\n"),
        (add_v, "x = {}\n", 'x = {"v": 2}\n'),
        (add_v, "x = {'b': 2}\n", "x = {'b': 2, 'v': 2}\n"),
        (lead_v, "f()\n", "f(v=2)\n"),
        (lead_v, "f(b=2)\n", "f(v=2, b=2)\n"),
        (lead_v, "f(\n    # on b\n    b=2,\n)\n", "f(\n    v=2,\n    # on b\n    b=2,\n)\n"),
        (lead_v, "f(\n    a=1, b=2\n)\n", "f(\n    v=2, a=1, b=2\n)\n"),
        (lambda a: a.put("v", "2", instead_of="a"), "f(a=1, b=(\n 2))\n", "f(v=2, b=(\n 2))\n"),
        (lambda a: a.put("a", "2"), "f(a =  1, b=2)\n", "f(a =  2, b=2)\n"),
    ],
)
def test_changes(change: Change, before: str, after: str) -> None:
    assert changed(before, change) == after


def replace_a(arguments: Arguments) -> None:
    drop_a(arguments)
    add_v(arguments)


def test_line_ends_are_kept() -> None:
    before = "if 1:\r\n    f(\r\n        a=1,\r\n        b=2,\r\n    )\r\n"
    after = "if 1:\r\n    f(\r\n        b=2,\r\n        v=2,\r\n    )\r\n"
    assert changed(before, replace_a) == after


def test_values_are_kept_as_they_are_written() -> None:
    kept = '        é="""x\n    y""",\n        c=[\n            1\n        ],\n'
    before = f"if 1:\n    f(\n        a=1,\n{kept}    )\n"
    assert changed(before, drop_a) == before.replace("        a=1,\n", "")


@pytest.mark.parametrize("second", ["second=count", "second_size=torch.cuda.device_count()"])
def test_a_call_that_makes_its_line_too_long_is_broken_up(second: str) -> None:
    parts = ("first_size=world_size // torch.cuda.device_count()", second)
    new = changed(
        "value = function(argument, plugin=plugin)\n",
        lambda a: a.put_parts("sizes", "Configuration()", *parts),
    )
    sizes = f"    sizes=Configuration({', '.join(parts)}),\n"
    if len(sizes) > 89:
        sizes = f"    sizes=Configuration(\n        {parts[0]},\n        {parts[1]},\n    ),\n"
    assert new == f"value = function(\n    argument,\n    plugin=plugin,\n{sizes})\n"


def test_a_dict_becomes_a_call() -> None:
    before = "x = {\n    # on a\n    'a': 1,  # one\n    'b': 2,\n}\n"
    assert changed(before, lambda a: a.make_call("F")) == (
        "x = F(\n    # on a\n    a=1,  # one\n    b=2,\n)\n"
    )
