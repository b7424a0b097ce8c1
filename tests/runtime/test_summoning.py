"""summon_full_params, seen from inside and afterwards."""

from __future__ import annotations

import pytest
from two_ways.compare import both_ways, new_way, programs
from two_ways.ranks import Ranks


@pytest.mark.parametrize("program", programs("summoning"))
def test_as_fsdp1(two_ranks: Ranks, program: str) -> None:
    two_ranks.run(both_ways, "summoning", program)


@pytest.mark.parametrize("check", programs("summoning_new"))
def test_beyond_fsdp1(two_ranks: Ranks, check: str) -> None:
    two_ranks.run(new_way, "summoning_new", check)
