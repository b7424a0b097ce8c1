"""Hybrid strategies, groups and meshes on four ranks."""

from __future__ import annotations

import pytest
from two_ways.compare import both_ways, new_way, programs
from two_ways.ranks import Ranks


@pytest.mark.parametrize("program", programs("four"))
def test_as_fsdp1(four_ranks: Ranks, program: str) -> None:
    four_ranks.run(both_ways, "four", program)


@pytest.mark.parametrize("check", programs("four_new"))
def test_beyond_fsdp1(four_ranks: Ranks, check: str) -> None:
    four_ranks.run(new_way, "four_new", check)
