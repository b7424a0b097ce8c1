"""Where a variable gets its value, and who else reads it."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.definitions import (
    bindings,
    definition,
    is_imported,
    removable,
    scope_of,
)
from support.programs import Analysis


def last(analysis: Analysis, text: str) -> ast.Name:
    node = list(analysis.nodes(text))[-1]
    assert isinstance(node, ast.Name)
    return node


def defined(text: str, name: str = "x") -> str | None:
    analysis = Analysis(text)
    found = definition(analysis.module(), last(analysis, name))
    return ast.unparse(found) if found is not None else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\nx", "x = 1"),
        ("def f():\n    x = 1\n    return x", "x = 1"),
        ("x = 1\ndef f():\n    return x", "x = 1"),
        ("x = 1\nx = 2\nx", None),
        ("x = y = 1\nx", None),
        ("x, y = 1, 2\nx", None),
        ("x: int = 1\nx", "x: int = 1"),
        ("for x in y:\n    x", None),
        ("import x\nx", None),
        ("def f(x):\n    return x", None),
        ("x", None),
    ],
)
def test_the_assignment_that_alone_binds_a_variable(text: str, expected: str | None) -> None:
    assert defined(text) == expected


def test_bindings_are_those_of_the_scope_itself() -> None:
    tree = ast.parse("x = 1\nimport a.x, x\ndef x(): ...\ndef g():\n    x = 2\n")
    kinds = sorted(type(node).__name__ for node in bindings(tree, "x"))
    assert kinds == ["FunctionDef", "Name", "alias"]


def test_the_scope_that_binds_a_variable() -> None:
    analysis = Analysis("x = 1\ndef f(y):\n    x\n    y\n    z")
    module = analysis.module()
    assert scope_of(module, last(analysis, "x")) is module.tree
    assert isinstance(scope_of(module, last(analysis, "y")), ast.FunctionDef)
    assert scope_of(module, last(analysis, "z")) is None


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", True),
        ("print(x)", False),
        ("__all__ = ['x']", False),
        ("def f():\n    return x", False),
    ],
)
def test_a_definition_may_go_when_nothing_else_reads_it(more: str, expected: bool) -> None:
    analysis = Analysis(f"x = 1\nuse(x)\n{more}\n")
    module = analysis.module()
    use = next(n for n in analysis.nodes("x"))
    statement = module.tree.body[0]
    assert isinstance(statement, ast.Assign)
    assert removable(analysis.solver, module, statement, {use}) is expected


@pytest.mark.parametrize("statement", ["from train import x", "from train import *"])
def test_a_definition_stays_when_another_module_imports_it(statement: str) -> None:
    analysis = Analysis({"train.py": "x = 1\ndef f(): ...\n", "other.py": statement})
    module = analysis.module()
    first = module.tree.body[0]
    assert isinstance(first, ast.Assign)
    assert is_imported(analysis.solver, module, "x")
    assert not removable(analysis.solver, module, first, set())


def test_a_function_may_go_as_well() -> None:
    analysis = Analysis("def f(): ...\n")
    function = analysis.module().tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    assert removable(analysis.solver, analysis.module(), function, set())
