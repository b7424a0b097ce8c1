"""Dotted paths: which of them a piece of code reads and binds."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.syntax.nodes import own_nodes
from fsdp_migrate.syntax.paths import binds, binds_names, overlap, path_of, reads, touches


def expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


@pytest.mark.parametrize(
    ("text", "path"),
    [("a", "a"), ("a.b.c", "a.b.c"), ("a().b", None), ("a[0].b", None), ("1", None)],
)
def test_the_path_of_an_expression(text: str, path: str | None) -> None:
    assert path_of(expression(text)) == path


def test_paths_that_have_to_do_with_each_other() -> None:
    assert overlap("a.b", "a")
    assert overlap("a", "a.b")
    assert not overlap("a.b", "a.c")
    assert not overlap("ab", "a")
    assert touches({"a.b", "x"}, {"a"})
    assert not touches({"b"}, {"a"})
    assert not touches((), {"a"})


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a.b = c", {"c"}),
        ("a.b.c(d)", {"a.b.c", "d"}),
        ("[x for x in y]", {"y"}),
        ("lambda x: x + y", {"y"}),
        ("x[i] = 1", {"x", "i"}),
        ("def f(): return z", {"z"}),
    ],
)
def test_reads(text: str, paths: set[str]) -> None:
    assert reads(ast.parse(text)) == paths


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a = b.c = 1", {"a", "b.c"}),
        ("a[0] = 1", {"a"}),
        ("del a", {"a"}),
        ("import a.b, c as d", {"a", "d"}),
        ("def f():\n    x = 1", {"f"}),
        ("class A:\n    x = 1", {"A"}),
        ("try: ...\nexcept E as e: ...", {"e"}),
        ("[x for x in y]", set()),
        ("(x := 1)", {"x"}),
        ("for a, b in c: ...", {"a", "b"}),
    ],
)
def test_binds(text: str, paths: set[str]) -> None:
    assert binds(ast.parse(text)) == paths


def test_nested_functions_are_single_nodes() -> None:
    tree = ast.parse("x = 1\ndef f():\n    y = 2\n")
    names = {node.id for node in own_nodes(tree) if isinstance(node, ast.Name)}
    assert names == {"x"}
    inside = {n.id for n in own_nodes(tree.body[1]) if isinstance(n, ast.Name)}
    assert inside == {"y"}


def test_names_that_are_bound_on_the_way() -> None:
    assert binds_names(expression("f((x := 1))"))
    assert binds_names(expression("lambda: (x := 1)"))
    assert not binds_names(expression("f(x=1)"))
