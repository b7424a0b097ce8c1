"""Which statements of one block two places are in."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.syntax.blocks import blocks_run_once, common_block, shares_line
from fsdp_migrate.syntax.module import Module, parse
from support.programs import dedent, source

PROGRAM = dedent(
    """
    def main(flag):
        if flag:
            first = 1
        try:
            second = 2
        finally:
            third = 3
        def inner():
            fourth = 4
        for fifth in range(2):
            sixth = 6
    """
)


@pytest.fixture
def module() -> Module:
    return parse(source("train.py", PROGRAM), "train")


def named(module: Module, name: str) -> ast.stmt:
    node = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == name)
    return module.statement(node)


def test_the_statements_around_two_places(module: Module) -> None:
    found = common_block(module, named(module, "first"), named(module, "third"))
    assert found is not None
    assert [type(statement) for statement in found] == [ast.If, ast.Try]


def test_there_are_none_the_other_way_round(module: Module) -> None:
    assert common_block(module, named(module, "third"), named(module, "first")) is None
    assert common_block(module, named(module, "first"), named(module, "first")) is None


def test_a_function_stands_for_what_is_in_it(module: Module) -> None:
    found = common_block(module, named(module, "fourth"), named(module, "sixth"))
    assert found is not None
    assert [type(statement) for statement in found] == [ast.FunctionDef, ast.For]


def test_blocks_that_may_run_again_are_not_counted(module: Module) -> None:
    assert len(list(blocks_run_once(named(module, "second")))) == 0
    around = module.parents[named(module, "second")]
    assert isinstance(around, ast.Try)
    assert [len(block) for block in blocks_run_once(around)] == [1, 0, 1]
    loop = module.parents[named(module, "sixth")]
    assert isinstance(loop, ast.For)
    assert list(blocks_run_once(loop)) == []


def test_statements_on_one_line() -> None:
    module = parse(
        source("train.py", "one = 1; two = 2\nthree = (\n    3); four = 4\nfive = 5\n"), "t"
    )
    shared = [shares_line(module, statement) for statement in module.tree.body]
    assert shared == [True, True, True, True, False]
