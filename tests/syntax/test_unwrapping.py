"""Code that takes wrappers off a model, in every shape that it is written in."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.unwrapping import Unwrapping, unwrapping
from support.programs import dedent, source


def find(text: str) -> Unwrapping | None:
    """The unwrapping around the only `FSDP` in a function."""
    module = parse(source("train.py", dedent(text)), "train")
    node = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "FSDP")
    return unwrapping(module, node)


@pytest.mark.parametrize(
    "text",
    [
        "def f(m):\n    return m.module if isinstance(m, FSDP) else m\n",
        "def f(m):\n    return m if not isinstance(m, (DDP, FSDP)) else m.module\n",
        "def f(self):\n    if isinstance(self.m, FSDP):\n        self.m = self.m.module\n",
        "def f(m):\n    while isinstance(m, (FSDP, DDP)):\n        m = m._fsdp_wrapped_module\n",
        "def f(m):\n    if isinstance(m, FSDP):\n        return m.module\n    return m\n",
        "def f(m):\n    if isinstance(m, FSDP):\n        return f(m.module)\n    return m\n",
        "def f(m):\n    if not isinstance(m, FSDP):\n        return m\n    return f(m.module)\n",
        "def f(m):\n    if isinstance(m[0], FSDP):\n        return m[0].module\n    return m[0]\n",
    ],
)
def test_what_goes_on_with_the_module_is_found(text: str) -> None:
    assert find(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "def f(m, n):\n    return n.module if isinstance(m, FSDP) else m\n",
        "def f(m):\n    if isinstance(m, FSDP):\n        m = m.module\n    elif g():\n        f()",
        "def f(m):\n    if isinstance(m, FSDP):\n        m = m.module\n        print(m)\n",
        "def f(m):\n    if isinstance(m, FSDP):\n        return g(m.module)\n    return m\n",
        "def f(m):\n    if isinstance(m, FSDP):\n        return m.module\n    return None\n",
        "def f(m):\n    if isinstance(m[0], FSDP):\n        return m[1].module\n    return m[0]\n",
        "def isinstance(a, b): ...\ndef f(m):\n    if isinstance(m, FSDP):\n        m = m.module\n",
    ],
)
def test_what_does_more_is_not(text: str) -> None:
    assert find(text) is None


def test_it_knows_what_is_asked_for_and_how() -> None:
    found = find(
        """
        def f(m):
            if not isinstance(m, (DDP, FSDP)):
                return m
            return f(m.module)
        """
    )
    assert found is not None
    assert [ast.unparse(item) for item in found.classes] == ["DDP", "FSDP"]
    assert found.negated
    assert isinstance(found.below, ast.Return)


def test_the_same_question_about_other_wrappers_is_part_of_it() -> None:
    found = find(
        """
        def f(m):
            if isinstance(m, FSDP):
                return m.module
            elif isinstance(m, DDP):
                return m.module
            return m
        """
    )
    assert found is not None
    assert found.below is None
