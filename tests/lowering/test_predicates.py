"""Predicates: their bodies where another variable stands for the module, and what they ask for."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.condition import Condition
from fsdp_migrate.lowering.predicates import function_condition, is_docstring, lambda_condition
from support.wraps import migrated, shown, solved


def condition(predicate: str) -> tuple[Condition | None, str]:
    """The condition that a lambda is, and its test as text."""
    program = solved(f"predicate = {predicate}\n")
    node = program.module().tree.body[-1]
    assert isinstance(node, ast.Assign)
    assert isinstance(node.value, ast.Lambda)
    found = lambda_condition(program.solver, program.module(), node.value)
    return found, shown(program.module(), found.test) if found else ""


@pytest.mark.parametrize(
    ("predicate", "test"),
    [
        ("lambda m: m.training", "module.training"),
        ("lambda m: g(m=m, x=m.m)", "g(m=module, x=module.m)"),
        ("lambda m: [m for m in m.parts]", "[m for m in module.parts]"),
        ("lambda m: [n for m in [1] for n in [m]]", "[n for m in [1] for n in [m]]"),
        ("lambda m: (lambda m: m.x)(m)", "(lambda m: m.x)(module)"),
        ("lambda m: (lambda x=m: x)()", "(lambda x=module: x)()"),
        ("lambda m: f'{m}' == '{m}'", "f'{module}' == '{m}'"),
        ("lambda m: m.i in {0}", "module.i in {0}"),
    ],
)
def test_the_body_with_another_variable(predicate: str, test: str) -> None:
    assert condition(predicate)[1] == test


@pytest.mark.parametrize("predicate", ["lambda m: (m := m)", "lambda m, n: m", "lambda *m: m"])
def test_bodies_that_cannot_stand_elsewhere(predicate: str) -> None:
    assert condition(predicate)[0] is None


@pytest.mark.parametrize(
    ("predicate", "open_", "class_test"),
    [
        ("lambda m: isinstance(m, Block)", False, True),
        ("lambda m: isinstance(m, Block) or isinstance(m, nn.Linear)", False, True),
        ("lambda m: isinstance(m, Block) and m.training", False, False),
        ("lambda m: isinstance(m, Block) or m.training", True, False),
        ("lambda m: m in set(blocks)", False, False),
        ("lambda m: m in list(net.modules())", True, False),
        ("lambda m: m in picked(net)", True, False),
    ],
)
def test_what_is_asked_for(predicate: str, open_: bool, class_test: bool) -> None:
    found, _ = condition(predicate)
    assert found is not None
    assert (found.open, found.is_class_test) == (open_, class_test)


def test_a_function_is_called_by_its_name() -> None:
    program = solved("def is_unit(m):\n    return isinstance(m, Block)\n\n\nprint(is_unit)\n")
    (node,) = program.nodes("is_unit")
    assert isinstance(node, ast.Name)
    found = function_condition(program.solver, program.module(), node)
    assert shown(program.module(), found.test) == "is_unit(module)"
    assert not found.open
    assert len(found.classes) == 1


def test_a_body_over_several_lines_comes_on_one_where_it_fits() -> None:
    text = """\
def build(net):
    return FSDP(
        net,
        auto_wrap_policy=functools.partial(
            lambda_auto_wrap_policy,
            lambda_fn=lambda m: (
                m.training
                and isinstance(m, Block)
            ),
        ),
    )
"""
    assert "if module.training and isinstance(module, Block):" in migrated(text)


def test_docstrings() -> None:
    first, second = ast.parse("'words'\ncall()\n").body
    assert is_docstring(first)
    assert not is_docstring(second)
