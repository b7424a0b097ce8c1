"""What is handed on when the analysis is at rest."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

import pytest

from fsdp_migrate.analysis.values import NOTHING, Const, Container, Wrapped
from support.values import analyse


def test_values_and_models() -> None:
    analysis = analyse("model = FSDP(Net()) if input() else None\nmodel")
    value = analysis.value("model")
    assert analysis.solver.wrapped(value) == {a for a in value if isinstance(a, Wrapped)}
    assert analysis.solver.value(None) == NOTHING
    assert analysis.solver.value(ast.Name("nowhere")) == NOTHING


def test_containers() -> None:
    analysis = analyse("d = {'b': 1, 'a': 2}\nd")
    (made,) = analysis.value("d")
    assert isinstance(made, Container)
    assert list(analysis.solver.item_keys(made.site)) == ["b", "a"]
    assert analysis.solver.dict_values(made) == {Const.of(1), Const.of(2)}
    assert analysis.solver.parts(made) == analysis.solver.dict_values(made)


def test_a_call_that_was_never_seen_has_no_modes() -> None:
    node = ast.parse("f()", mode="eval").body
    assert isinstance(node, ast.Call)
    assert analyse("").solver.modes_at(node) == frozenset()


def test_nothing_after_it_writes_to_it() -> None:
    analysis: Any = analyse("model = FSDP(Net())").solver
    with pytest.raises(dataclasses.FrozenInstanceError):
        analysis.wraps = {}
    for facts in ("functions", "classes", "values", "wraps", "calls", "call_nodes", "open_modes"):
        with pytest.raises(TypeError):
            getattr(analysis, facts)[None] = None
    assert not hasattr(analysis.heap, "write")


def test_asking_leaves_the_facts_as_they_are() -> None:
    analysis = analyse("class A(Net):\n    def f(self): return self.x\nmodel = FSDP(A())").solver
    before = dict(analysis.heap.items())
    for site in analysis.classes:
        analysis.lineage(site)
        analysis.descendants(site)
        analysis.item_keys(site)
        analysis.method(site, "f")
    assert dict(analysis.heap.items()) == before
