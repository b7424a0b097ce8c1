"""The constructor taken apart trains as FSDP1 does, where nothing is known until the run."""

from __future__ import annotations

import pytest
from two_ways.compare import programs, taken_apart
from two_ways.ranks import Ranks

# What only the emulation of the whole constructor does.
NOT_APART = {
    "unused_parameters", "unused_flat_parameters", "unused_parameters_accumulated",
    "unused_parameters_low_precision", "unused_units", "unused_units_momentum",
    "several_forwards", "recomputed",  # gradients of zero for what took no part
    "precision_by_hand",  # which unit is the root is known in the program
    "custom_policy", "precision_per_unit", "other_exempt_classes",  # arguments of single units
    "meta_ignored", "refusals",
}  # fmt: skip


def _apart(module: str) -> list[str]:
    return [name for name in programs(module) if name not in NOT_APART]


@pytest.mark.parametrize("name", _apart("training"))
def test_training(two_ranks: Ranks, name: str) -> None:
    two_ranks.run(taken_apart, "training", name)


@pytest.mark.parametrize("name", _apart("initial"))
def test_initial(two_ranks: Ranks, name: str) -> None:
    two_ranks.run(taken_apart, "initial", name)


@pytest.mark.parametrize("name", _apart("four"))
def test_four(four_ranks: Ranks, name: str) -> None:
    four_ranks.run(taken_apart, "four", name)
