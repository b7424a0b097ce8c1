"""Functions that return a context, and who enters it."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.no_sync_returns import find_provider
from support.facts import Program

HEAD = """\
from contextlib import ExitStack, nullcontext

from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(nn.Linear(4, 4))
"""
FUNCTION = """
def quiet(last):
    if last:
        return nullcontext()
    return model.no_sync()
"""


@pytest.mark.parametrize(
    ("callers", "entries"),
    [
        ("with quiet(True):\n    model(1).backward()\n", 1),
        ("for last in (0, 1):\n    with quiet(last), nullcontext():\n        model(1)\n", 1),
        ("context = quiet(True)\n", 0),
        ("with quiet(True):\n    pass\nwith ExitStack() as s:\n    s.enter_context(quiet(1))\n", 0),
        ("with quiet(True) as c:\n    pass\n", 0),
        ("with quiet(True):\n    pass\nprint(quiet)\n", 0),
    ],
)
def test_entries(callers: str, entries: int) -> None:
    program = Program(HEAD + FUNCTION + callers)
    provider = find_provider(program.use("no_sync"), program.facts)
    assert provider is not None
    assert len(provider.entries) == entries


@pytest.mark.parametrize(
    "function",
    [
        "def quiet(last):\n    yield model.no_sync()\n",
        "def quiet(last):\n    if last:\n        return 1\n    return model.no_sync()\n",
        "@property\ndef quiet(last):\n    return model.no_sync()\n",
        "def quiet(last):\n    return [model.no_sync()]\n",
    ],
)
def test_functions_that_do_something_else(function: str) -> None:
    program = Program(HEAD + function)
    assert find_provider(program.use("no_sync"), program.facts) is None
