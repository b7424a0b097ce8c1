"""Questions about hooks for the communication."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.options import Options
from fsdp_migrate.planning.ask import decide
from fsdp_migrate.rule.queries.comm_hooks import hooks, state_of_hook
from support.wraps import solved

TEXT = """\
from torch.distributed.algorithms._comm_hooks import default_hooks


def bf16_compress_hook(state, gradient):
    return gradient


state = default_hooks.LowPrecisionState(None)
{line}
model = FSDP(Block())
model.register_comm_hook(state, {hook})
"""


@pytest.mark.parametrize(
    ("hook", "names"),
    [
        ("default_hooks.allreduce_hook", {"allreduce_hook"}),
        ("hook=default_hooks.allreduce_hook", {"allreduce_hook"}),
        ("bf16_compress_hook", {""}),
    ],
)
def test_names_of_hooks(hook: str, names: set[str]) -> None:
    facts, _ = decide(solved(TEXT.format(line="", hook=hook)).project, Options())
    (use,) = (use for use in facts.uses if use.name == "register_comm_hook")
    assert use.call is not None
    assert hooks(facts, use.call) == names


@pytest.mark.parametrize(("line", "count"), [("", 1), ("print(state)", 0)])
def test_the_state_that_only_the_hook_has(line: str, count: int) -> None:
    text = TEXT.format(line=line, hook="default_hooks.allreduce_hook")
    facts, _ = decide(solved(text).project, Options())
    (use,) = (use for use in facts.uses if use.name == "register_comm_hook")
    assert use.call is not None
    found = list(state_of_hook(use, facts, use.call))
    assert len(found) == count
    assert all(isinstance(statement, ast.Assign) for statement in found)
