"""Comments behind arguments of a constructor that go without a trace."""

from __future__ import annotations

from fsdp_migrate.lowering.vanished_comments import vanished_comments
from support.wraps import plan

SOURCE = """\
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
model = FSDP(
    nn.Linear(4, 4),  # small
    use_orig_params=True,  # for compile
    forward_prefetch=True, limit_all_gathers=True,  # both
    sharding_strategy=None, backward_prefetch=None,  # one of two
)  # all
"""


def test_behind_what_vanishes_alone() -> None:
    assert vanished_comments(plan(SOURCE)) == {"# for compile", "# both"}
