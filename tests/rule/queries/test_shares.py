"""State dicts of what is inside a wrapper: this rank's share, unless it is a unit of its own."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.shares import gave_share
from support.facts import Program
from support.programs import dedent

HEAD = """
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

class Block(nn.Module):
    pass

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.first = Block()
        self.head = nn.Linear(2, 2)

model = FSDP(Net(), {})
"""
PLAIN, UNITS = "use_orig_params=True", "auto_wrap_policy=ModuleWrapPolicy({Block})"
FLAT = "sharding_strategy=ShardingStrategy.NO_SHARD"
WHOLE = f"{FLAT}, use_orig_params=True"


@pytest.mark.parametrize(
    ("options", "taken", "expected"),
    [
        (PLAIN, "model", False),
        (PLAIN, "model.module", True),
        (UNITS, "model.module", True),
        (WHOLE, "model.module", False),
        (FLAT, "model.module", True),
        (PLAIN, "model.head", True),
        (UNITS, "model.head", True),
        (UNITS, "model.module.first", False),
        (UNITS, "model.module.blocks", False),
        (PLAIN, "model.module.blocks", True),
    ],
)
def test_whose_state_was_a_share(options: str, taken: str, expected: bool) -> None:
    program = Program(dedent(HEAD.replace("{}", options)) + f"state = {taken}.state_dict()\n")
    (use,) = [use for use in program.facts.uses if use.name == "state_dict"]
    assert gave_share(use, program.facts) is expected
