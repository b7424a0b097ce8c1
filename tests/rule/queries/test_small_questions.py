"""Questions of one rule each: who reads a result, where a window of microbatches ends."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.code import Name
from fsdp_migrate.rule.queries.method_calls import as_function, given, values
from fsdp_migrate.rule.queries.microbatches import dropped_inside_window, loop_around
from fsdp_migrate.rule.queries.parameter_use import may_use_parameters
from fsdp_migrate.rule.queries.readers import is_read
from support.edits import edited
from support.facts import Program, plain

HEAD = """
import torch
from contextlib import nullcontext
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(nn.Linear(2, 2), use_orig_params=True)
optimizer = torch.optim.AdamW(model.parameters())
"""


# ---------------------------------------------------------------------- readers
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("place()", False),
        ("x = place()", False),
        ("x = place(); x = 1", False),
        ("x = place(); print(x)", True),
        ("x = place(); print(locals())", True),
        ("x = place(); print(helper.locals())", False),
        ("x, y = place()", True),
        ("global x; x = place()", True),
        ("return place()", True),
    ],
)
def test_readers(body: str, expected: bool) -> None:
    found = Program(f"import helper\n\n\ndef f():\n    {body}\n\n\nf()\n")
    call = found.node("place()")
    assert isinstance(call, ast.Call)
    assert is_read(found.facts, found.module(), call) is expected


def test_a_function_of_the_user_s_called_locals_reads_nothing() -> None:
    found = Program("def locals(): ...\n\n\ndef f():\n    x = place()\n    locals()\n\n\nf()\n")
    call = found.node("place()")
    assert isinstance(call, ast.Call)
    assert not is_read(found.facts, found.module(), call)


# ---------------------------------------------------------------------- calls of methods
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.no_sync()", "shim(model)"),
        ("model.no_sync", "partial(shim, model)"),
        ("FSDP.no_sync(model)", "shim(model)"),
        ("model.no_sync(1, *a, b=2, **c)", "shim(model, 1, *a, b=2, **c)"),
    ],
)
def test_methods_as_functions(text: str, expected: str) -> None:
    found = Program(f"{HEAD}a = c = input()\nprint({text})\n")
    use = found.use("no_sync")
    after = edited(found.module(), as_function(use, Name("lib", "shim")))
    assert plain(after).splitlines()[-1] == f"print({expected})"
    assert len(given(use)) == len(values(use))


# ---------------------------------------------------------------------- microbatches
@pytest.mark.parametrize(
    ("body", "dropped"),
    [
        ("optimizer.zero_grad()", True),
        ("model.zero_grad()", True),
        ("input().zero_grad()", False),
        ("optimizer.step(); optimizer.zero_grad()", False),
        ("if i % 4 == 0: optimizer.zero_grad()", False),
        ("if full: optimizer.zero_grad()", False),
        ("if resynced: optimizer.zero_grad()", True),
        ("for _ in []: optimizer.zero_grad()", False),
    ],
)
def test_gradients_that_are_dropped(body: str, dropped: bool) -> None:
    found = Program(f"""{HEAD}
for i, resynced in enumerate(input()):
    full = i % 4 == 3
    with nullcontext() if full else model.no_sync():
        model(i).backward()
    {body}
""")
    use = found.use("no_sync")
    loop = loop_around(use.module, use.node)
    assert loop is not None
    assert bool(list(dropped_inside_window(found.facts, use, loop))) is dropped


# ---------------------------------------------------------------------- parameters
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("def f(m): nn.init.zeros_(m.weight)", True),
        ("def g(m): m.reset_parameters()\n\ndef f(m): g(m)", True),
        ("def f(m): m.requires_grad_(False)", False),
        ("def f(m): print(m)", False),
        ("f = input()", True),
        ("f = nn.init.zeros_", True),
    ],
)
def test_functions_that_use_parameters(function: str, expected: bool) -> None:
    found = Program(f"{HEAD}{function}\nmodel.apply(f)\n")
    assert may_use_parameters(found.facts, found.node("f")) is expected
