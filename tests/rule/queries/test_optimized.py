"""What is known of optimizers: their state, what their groups hold, which models they step."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.optimized import models_optimized_by
from fsdp_migrate.rule.queries.optimizer_groups import may_have_more_entries
from fsdp_migrate.rule.queries.optimizer_loads import find_load, keeps_state, load_flags
from fsdp_migrate.rule.queries.optimizer_saves import find_save
from support.facts import Program

HEAD = """
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import StateDictType

model = FSDP(torch.nn.Linear(2, 2), use_orig_params=True)
optimizer = torch.optim.AdamW(model.parameters())
"""


def program(text: str) -> Program:
    """A program with a model and its optimizer."""
    return Program(f"{HEAD}{text}\nlast = optimizer\n")


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("", False),
        ("# an LRScheduler some day\nscheduler = 'get_scheduler'", False),
        ("from torch.optim.lr_scheduler import StepLR", True),
        ("torch.optim.lr_scheduler.StepLR(optimizer, 3)", True),
        ("import warmup\nwarmup.attach(optimizer)", True),
        ("import warmup\nwarmup.Engine().attach(to=optimizer)", True),
        ("def attach(to):\n    print(to)\n\nattach(optimizer)", False),
        ("torch.cuda.amp.GradScaler().step(optimizer)", False),
        ("for group in optimizer.param_groups:\n    group['lr'] *= 0.5", False),
        ("for group in optimizer.param_groups:\n    group['first_lr'] = group['lr']", True),
        ("for i, g in enumerate(optimizer.param_groups):\n    g[f'lr{i}'] = 1", True),
        ("optimizer.param_groups[0]['stage'] = 1", True),
        ("for g in optimizer.param_groups:\n    g.setdefault('stage', 1)", True),
        ("group = {}\ngroup['stage'] = 1", False),
    ],
)
def test_entries_that_a_new_optimizer_lacks(text: str, more: bool) -> None:
    found = program(text)
    assert may_have_more_entries(found.facts, found.node("optimizer")) is more


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("torch.optim.AdamW(model.parameters())", True),
        ("torch.optim.SGD(model.parameters(), lr=1.0)", False),
        ("torch.optim.SGD(model.parameters(), lr=1.0, momentum=0)", False),
        ("torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)", True),
        ("torch.optim.SGD(model.parameters(), 1.0, 0.9)", True),
        ("torch.optim.SGD(model.parameters(), lr=1.0, momentum=float(input()))", False),
        ("input()", False),
    ],
)
def test_keeping_state(optimizer: str, expected: bool) -> None:
    found = Program(f"{HEAD}other = {optimizer}\nlast = other\n")
    assert keeps_state(found.node("other"), found.facts) is expected


def test_the_models_of_an_optimizer() -> None:
    found = program("")
    (wrapped,) = models_optimized_by(found.facts, found.node("optimizer"))
    assert wrapped.site is not None


@pytest.mark.parametrize(
    ("text", "found_at_all", "resharding"),
    [
        ("FSDP.optim_state_dict(model, optimizer)", True, "root"),
        ("FSDP.optim_state_dict(optim=optimizer, model=model)", True, "root"),
        ("FSDP.optim_state_dict(model, optimizer, None)", False, ""),
        ("a = model . state_dict(), FSDP.optim_state_dict(model, optimizer)", True, ""),
        ("FSDP.optim_state_dict(model, input())", True, "root"),
    ],
)
def test_saving(text: str, found_at_all: bool, resharding: str) -> None:
    kind = "StateDictType.SHARDED_STATE_DICT"
    found = program(f"with FSDP.state_dict_type(model, {kind}):\n    {text}")
    save = find_save(found.use("optim_state_dict"), found.facts)
    assert (save is not None) is found_at_all
    assert save is None or save.resharding == resharding


@pytest.mark.parametrize(
    ("text", "found_at_all"),
    [
        ("optimizer.load_state_dict(FSDP.optim_state_dict_to_load(model, optimizer, {}))", True),
        ("optimizer.load_state_dict(FSDP.optim_state_dict_to_load({}, model, optimizer))", True),
        ("s = FSDP.optim_state_dict_to_load(model, optimizer, {})", False),
        (
            "s = FSDP.optim_state_dict_to_load(model, optimizer, {})\noptimizer.load_state_dict(s)",
            True,
        ),
        (
            "s = FSDP.optim_state_dict_to_load(model, optimizer, {})\nprint(s)\n"
            "optimizer.load_state_dict(s)",
            False,
        ),
        ("input().load_state_dict(FSDP.optim_state_dict_to_load(model, optimizer, {}))", False),
    ],
)
def test_loading(text: str, found_at_all: bool) -> None:
    found = program(text)
    use = found.use("optim_state_dict_to_load")
    load = find_load(use, found.facts)
    assert (load is not None) is found_at_all
    assert load is None or load_flags(use, found.facts, load) is not None
