"""Functions that new code needs: defined once, at the top level, above all calls."""

from __future__ import annotations

import ast

from fsdp_migrate.findings.code import code, local_variable, qualified, variable
from fsdp_migrate.findings.edits import Decorate, Define, Edit, ReplaceExpression
from fsdp_migrate.rewriting.definitions import defined_once
from fsdp_migrate.syntax.module import Module
from support.edits import edited, module_of

SHARDING = variable("get_sharding")
DEFINITION = code(
    "def {name}(strategy):\n"
    "    size = {world}()\n"
    "    shape = {{\n"
    '        "full": (size,),\n'
    '        "none": (size, 1),\n'
    "    }}[strategy]\n"
    "    return len(shape)",
    name=SHARDING,
    world=qualified("torch.distributed.get_world_size"),
)
TEXT = """\
import torch.distributed as dist


# how it starts
def first():
    return f(1)


class Second:
    @property
    def third(self):
        return f(2)
"""
EXPECTED = """\
import torch.distributed as dist


def get_sharding(strategy):
    size = dist.get_world_size()
    shape = {
        "full": (size,),
        "none": (size, 1),
    }[strategy]
    return len(shape)


# how it starts
def first():
    return get_sharding(1)


class Second:
    @property
    def third(self):
        return get_sharding(2)
"""


def _edits(module: Module, functions: list[str]) -> list[Edit]:
    """The edits that make each call of `functions` one of the new function."""
    edits: list[Edit] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in functions:
            edits.append(Define(module.span(module.statement(node)), DEFINITION))
            edits.append(ReplaceExpression(module.span(node.func), SHARDING))
    return edits[::-1]


def test_once_above_the_first() -> None:
    module = module_of(TEXT)
    assert edited(module, *defined_once(module, _edits(module, ["f"]))) == EXPECTED


def test_a_name_that_is_taken() -> None:
    module = module_of("get_sharding = 1\n" + TEXT)
    new = edited(module, *defined_once(module, _edits(module, ["f"])))
    names = {n.name for n in ast.parse(new).body if isinstance(n, ast.FunctionDef)}
    assert "get_sharding" not in names
    assert len(names) == 2


def test_functions_stay_apart() -> None:
    other = code("def {name}():\n    return 1", name=local_variable("one", beside=()))
    module = module_of(TEXT)
    place = module.span(module.tree.body[-1])
    made = defined_once(module, [*_edits(module, ["f"]), Define(place, other)])
    new = edited(module, *made)
    assert [ast.unparse(s).split("\n")[0] for s in ast.parse(new).body][1:] == [
        "def get_sharding(strategy):",
        "def first():",
        "def one():",
        "class Second:",
    ]


def test_two_above_one_statement_are_two_lines_apart() -> None:
    module = module_of(TEXT)
    place = module.span(module.tree.body[-1])
    one, two = (
        code(f"def {{name}}():\n    return {n}", name=local_variable(name, beside=()))
        for n, name in enumerate(("one", "two"))
    )
    new = edited(module, *defined_once(module, [Define(place, one), Define(place, two)]))
    assert "def one():\n    return 0\n\n\ndef two():\n    return 1\n\n\nclass Second" in new


def test_above_a_decorator() -> None:
    module = module_of("import f\n\n\n@f.cached\ndef first():\n    return f(1)\n")
    new = edited(module, *defined_once(module, _edits(module, ["f"])))
    assert new.startswith("import f\n\n\ndef get_sharding(strategy):\n")
    assert new.endswith("\n\n\n@f.cached\ndef first():\n    return get_sharding(1)\n")


def test_a_decorator_below_those_that_are_there() -> None:
    module = module_of("import f\n\n\n@f.cached\ndef first():\n    return f(1)\n")
    span = module.span(module.tree.body[-1])
    new = edited(module, Decorate(span, qualified("contextlib.contextmanager")))
    assert "@f.cached\n@contextlib.contextmanager\ndef first():" in new


def test_a_comment_stays_with_its_function_below_several() -> None:
    module = module_of(TEXT.replace("class Second", "# what it is\nclass Second"))
    place = module.span(module.tree.body[-1])
    one, two = (
        code(f"def {{name}}():\n    return {n}", name=local_variable(name, beside=()))
        for n, name in enumerate(("one", "two"))
    )
    new = edited(module, *defined_once(module, [Define(place, one), Define(place, two)]))
    wanted = (
        "def one():\n    return 0\n\n\ndef two():\n    return 1\n\n\n# what it is\nclass Second"
    )
    assert wanted in new
