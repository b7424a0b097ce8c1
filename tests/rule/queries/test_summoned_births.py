"""Parameters that go into `summon_full_params` or come out of it."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.summon_limits import stale_views, without_form
from fsdp_migrate.rule.queries.summoned_births import births
from support.facts import Program

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy

model = FSDP(nn.Linear(4, 4), use_orig_params=True)
params = list(model.parameters())
"""
SUMMON = "with FSDP.summon_full_params(model, writeback=False):\n    "


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ("print(sum(p.norm() for p in params))", ["p"]),
        ("print([p.shape for p in params])", []),
        ("ids = {id(p) for p in params}", []),
        ("print(sum(p.norm() for p in model.parameters()))", []),
        ("print(torch.stack([p + 1 for p in params]))", ["p"]),
        ("for p in params: model.register_parameter('x', p)", ["p"]),
    ],
)
def test_parameters_from_outside(body: str, read: list[str]) -> None:
    program = Program(f"{HEAD}{SUMMON}{body}\n")
    found = births(program.facts)
    assert [getattr(node, "id", "") for _, node in found.strangers] == read
    assert not found.kept


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("new = [p for p in model.parameters() if p.ndim > 1]\nprint(new)", True),
        ("new = dict(model.named_parameters())\nprint(new)", True),
        ("optimizer = torch.optim.SGD(model.parameters())", True),
        ("new = [p.clone() for p in model.parameters()]\nprint(new)", False),
        ("new = [p.detach().cpu() for p in model.parameters()]\nprint(new)", False),
        ("new = {n: p.norm() for n, p in model.named_parameters()}\nprint(new)", False),
        ("new = [n for n, p in model.named_parameters()]\nprint(new)", False),
        ("new = [p for p in model.parameters()]", False),
    ],
)
def test_parameters_that_leave(body: str, kept: bool) -> None:
    assert bool(births(Program(f"{HEAD}{SUMMON}{body}\n").facts).kept) is kept


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("average.update()", True),
        ("average.update(model.parameters())", False),
        ("average.state_dict()", False),
        ("optimizer.zero_grad()", False),
    ],
)
def test_objects_that_were_given_parameters(body: str, asked: bool) -> None:
    head = (
        f"from torch_ema import Average\n{HEAD}average = Average(model.parameters())\n"
        "optimizer = torch.optim.SGD(model.parameters())\n"
    )
    assert bool(births(Program(f"{head}{SUMMON}{body}\n").facts).strangers) is asked


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("print(sum(p.norm() for p in params))", "asked for outside"),
        ("new = [p for p in model.parameters()]\nprint(new)", "asked for inside"),
        ("print(model.weight.norm())", ""),
    ],
)
def test_what_has_no_form(body: str, why: str) -> None:
    program = Program(f"{HEAD}{SUMMON}{body}\n")
    found = without_form(program.use("summon_full_params"), program.facts)
    assert why in found
    assert bool(why) == bool(found)


@pytest.mark.parametrize(
    ("strategy", "body", "line"),
    [
        ("NO_SHARD", "new = model.weight.detach()\nprint(new)", "line 9"),
        ("NO_SHARD", "new = [p.data for p in model.parameters()]\nprint(new)", "line 9"),
        ("NO_SHARD", "new = model.weight.detach().clone()\nprint(new)", ""),
        ("NO_SHARD", "print(model.weight.detach())", ""),
        ("FULL_SHARD", "new = model.weight.detach()\nprint(new)", ""),
    ],
)
def test_views_that_outlive_it(strategy: str, body: str, line: str) -> None:
    given = f"sharding_strategy=ShardingStrategy.{strategy}, use_orig_params"
    program = Program(f"{HEAD.replace('use_orig_params', given)}{SUMMON}{body}\n")
    found = stale_views(program.use("summon_full_params"), program.facts)
    assert line in found
    assert bool(line) == bool(found)
