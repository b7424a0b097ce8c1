"""What is visible at a place of a file, and what binds it."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rewriting.visible_names import Visible, VisibleNames
from support.edits import module_of
from support.programs import dedent


def at_here(text: str) -> Visible:
    """What is visible where `here` is read."""
    module = module_of(dedent(text))
    here = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "here")
    return VisibleNames(module).visible(module.span(here))


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("x = 1\ndef f(a):\n    b = 2\n    here\n", {"x", "f", "a", "b"}),
        ("def f(a):\n    b = 2\ndef g():\n    here\n", {"f", "g"}),
        ("def f(*a, k=1, **b): return lambda c: here\n", {"f", "a", "k", "b", "c"}),
        ("def f():\n    def g(a): ...\n    here\n", {"f", "g"}),
        ("if a:\n    for x in y:\n        z: int = 1\nhere\n", {"x", "z"}),
        ("with a as b, c as (d, e):\n    here\n", {"b", "d", "e"}),
        ("try: pass\nexcept E as e: pass\nhere\n", {"e"}),
        (
            "match a:\n    case [b, *c] as d: pass\n    case {'x': 1, **e}: pass\nhere\n",
            set("bcde"),
        ),
        ("print(a := 1, [b for b in c])\nhere\n", {"a", "b"}),
        # names of a class are nothing to its methods
        ("class A:\n    x = 1\n    def f(self): here\n", {"A", "self"}),
        ("class A:\n    x = 1\n    here\n", {"A", "x"}),
        ("def f():\n    class A:\n        x = 1\n        y = here\n", {"f", "A", "x", "y"}),
        # what a function binds for all
        ("def f():\n    global x, y\n    x = 1\n    print(y)\ndef g(): here\n", {"f", "g", "x"}),
        ("def f():\n    x = 1\n    def g():\n        nonlocal x\n        here\n", {"f", "g", "x"}),
    ],
)
def test_names_that_no_import_binds(text: str, own: set[str]) -> None:
    assert at_here(text) == Visible(frozenset(own))


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        ("import a\nhere\n", {("a", "a")}),
        ("import a.b, c\nhere\n", {("a", "a"), ("c", "c")}),
        ("import a.b as c\nhere\n", {("c", "a.b")}),
        ("from a import b, c as d\nhere\n", {("b", "a.b"), ("d", "a.c")}),
        ("from . import a\nfrom .b import c\nhere\n", {("a", ".a"), ("c", ".b.c")}),
        ("if x:\n    import a\nhere\n", {("a", "a")}),
        # one that only stands in for another
        ("try:\n    import a\nexcept ImportError:\n    import b as a\nhere\n", {("a", "a")}),
    ],
)
def test_names_that_imports_bind(text: str, imports: set[tuple[str, str]]) -> None:
    assert at_here(text) == Visible(imports=frozenset(imports))


def test_imports_of_functions_are_visible_in_them() -> None:
    text = "def f():\n    import a\n    def g(): here\ndef h():\n    import b\n"
    assert at_here(text).imports == {("a", "a")}


def test_imported_outside_of_functions_and_bound_by_none() -> None:
    text = "from a import b, c, d\ntry: from e import f\nexcept: f = 1\ndef g(c): d = 1\n"
    assert VisibleNames(module_of(text)).imported_outside == {"b", "f"}
