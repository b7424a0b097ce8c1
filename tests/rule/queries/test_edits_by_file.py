"""Edits of a value that changes in many files, sorted into the files."""

from __future__ import annotations

import ast
from pathlib import Path

from fsdp_migrate.findings.code import Literal
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.rule.queries.edits_by_file import edits_by_file
from fsdp_migrate.syntax.module import Module, parse
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.source import Source


def _module(name: str, text: str) -> Module:
    return parse(Source(Path(f"{name}.py"), text), name)


def _replaced(module: Module, name: str) -> tuple[Module, Edit]:
    node = next(n for n in nodes_in(module.tree) if isinstance(n, ast.Name) and n.id == name)
    return module, ReplaceExpression(module.span(node), Literal(1))


def test_each_file_has_its_edits_and_the_first_place() -> None:
    one, two = _module("one", "a = b\nc = d\n"), _module("two", "e = f\n")
    found = list(edits_by_file([_replaced(one, "d"), _replaced(two, "f"), _replaced(one, "b")]))
    assert [(some.module, len(some.edits)) for some in found] == [(one, 2), (two, 1)]
    assert [one.segment(found[0].first), two.segment(found[1].first)] == ["b", "f"]


def test_nothing_to_do_is_no_file() -> None:
    assert list(edits_by_file([])) == []
