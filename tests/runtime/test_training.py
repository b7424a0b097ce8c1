"""Training with the runtime is training with FSDP1, bit by bit."""

from __future__ import annotations

import pytest
from two_ways.compare import both_ways, programs
from two_ways.ranks import Ranks


@pytest.mark.parametrize("program", programs("training"))
def test_trains_alike(two_ranks: Ranks, program: str) -> None:
    two_ranks.run(both_ways, "training", program)
