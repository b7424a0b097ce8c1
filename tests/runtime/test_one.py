"""One rank."""

from __future__ import annotations

import pytest
from two_ways.compare import both_ways, programs
from two_ways.ranks import Ranks


@pytest.mark.parametrize("program", programs("one"))
def test_as_fsdp1(one_rank: Ranks, program: str) -> None:
    one_rank.run(both_ways, "one", program)
