"""Questions about hooks for the communication."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.engine import facts_of
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rule.queries.comm_hooks import hooks, state_of_hook
from fsdp_migrate.rule.registry import load_rules
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
    facts = facts_of(solved(TEXT.format(line="", hook=hook)).project, Options(), load_rules())
    (use,) = (use for use in facts.uses if use.name == "register_comm_hook")
    assert use.call is not None
    assert hooks(use, facts) == names


@pytest.mark.parametrize(("line", "count"), [("", 1), ("print(state)", 0)])
def test_the_state_that_only_the_hook_has(line: str, count: int) -> None:
    text = TEXT.format(line=line, hook="default_hooks.allreduce_hook")
    facts = facts_of(solved(text).project, Options(), load_rules())
    (use,) = (use for use in facts.uses if use.name == "register_comm_hook")
    assert use.call is not None
    found = list(state_of_hook(use, facts))
    assert len(found) == count
    assert all(isinstance(statement, ast.Assign) for statement in found)
