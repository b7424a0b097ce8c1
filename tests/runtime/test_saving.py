"""State dicts hold and take what FSDP1's did."""

from __future__ import annotations

import pytest
from two_ways.compare import both_ways, new_way, programs
from two_ways.ranks import Ranks


@pytest.mark.parametrize("program", programs("saving"))
def test_as_fsdp1(two_ranks: Ranks, program: str) -> None:
    two_ranks.run(both_ways, "saving", program)


@pytest.mark.parametrize("check", programs("saving_new"))
def test_beyond_fsdp1(two_ranks: Ranks, check: str) -> None:
    two_ranks.run(new_way, "saving_new", check)
