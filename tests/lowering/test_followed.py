"""Which variables may be followed to their value, so that it can stand elsewhere."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.followed import followed
from support.programs import Analysis

FOLLOWED = {
    "a literal": "def build():\n    policy = {1}\n    return use(policy)\n",
    "a global": "policy = {Block}\n\n\ndef build():\n    return use(policy)\n",
    "a name that was bound before": "def build(x):\n    x = 1\n    policy = {x}\n    use(policy)\n",
    "a comprehension": "def build(s):\n    policy = {s for s in s}\n    return use(policy)\n",
    "a lambda": "def build():\n    policy = lambda m: m\n    return use(policy)\n",
}
NOT_FOLLOWED = {
    "bound twice": "def build():\n    policy = 1\n    policy = 2\n    use(policy)\n",
    "a parameter": "def build(policy):\n    use(policy)\n",
    "a name that changes": "def build(x):\n    policy = {x}\n    x = 2\n    use(policy)\n",
    "a name that is another one there": (
        "policy = {Block}\n\n\ndef build(Block):\n    return use(policy)\n"
    ),
    "a global that is bound later": (
        "Block = 1\npolicy = {Block}\n\n\ndef build():\n    return use(policy)\n\n\nBlock = 2\n"
    ),
    "a name that is bound on the way": "def build():\n    policy = {(q := 1)}\n    use(policy)\n",
}


def value(text: str) -> ast.Assign | None:
    """What the variable in `use(policy)` is followed to."""
    program = Analysis(f"def use(policy):\n    return policy\n\n\n{text}")
    (call,) = program.nodes("use(policy)")
    assert isinstance(call, ast.Call)
    assert isinstance(call.args[0], ast.Name)
    return followed(program.module(), call.args[0])


@pytest.mark.parametrize("text", FOLLOWED.values(), ids=FOLLOWED)
def test_values_that_mean_the_same_there(text: str) -> None:
    found = value(text)
    assert found is not None
    assert isinstance(found.targets[0], ast.Name)


@pytest.mark.parametrize("text", NOT_FOLLOWED.values(), ids=NOT_FOLLOWED)
def test_values_that_do_not(text: str) -> None:
    assert value(text) is None
