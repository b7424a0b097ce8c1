"""The first weights are those that FSDP1 started with."""

from __future__ import annotations

import pytest
from two_ways.compare import both_ways, programs
from two_ways.ranks import Ranks


@pytest.mark.parametrize("program", programs("initial"))
def test_as_fsdp1(two_ranks: Ranks, program: str) -> None:
    two_ranks.run(both_ways, "initial", program)
