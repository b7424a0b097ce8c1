"""no_sync, clipping, units: on whatever a program may hold."""

from __future__ import annotations

import pytest
from two_ways.compare import new_way, programs
from two_ways.ranks import Ranks


@pytest.mark.parametrize("check", programs("contexts_new"))
def test_contexts(two_ranks: Ranks, check: str) -> None:
    two_ranks.run(new_way, "contexts_new", check)
