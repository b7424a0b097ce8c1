"""Made-up programs come out of the migration the same, or the report says what differs.

`python tests/differential.py` runs as many as you like and prints those that aren't the same.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from support.fuzz.differential import Judgement, judge
from support.fuzz.programs import Made, put_together, trained_programs

QUICK = settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=300, derandomize=False)


def _nothing_is_silent(made: Made) -> None:
    judged = judge(made)
    assert judged.judgement not in {Judgement.SILENT, Judgement.VOID}, f"{made}\n{judged.why}"


@QUICK
@given(trained_programs())
def test_what_comes_out_otherwise_is_said(made: Made) -> None:
    _nothing_is_silent(made)


# Pieces that came out otherwise together, and must not again.
TOGETHER = {
    "a part, and a method that wraps": {
        "place": "method",
        "crossing": "part",
        "loop": "two backwards",
        "use": "data of groups",
        "checkpoint": "with optimizer",
    },
    "the data of groups in what a partial runs": {
        "crossing": "both in a helper",
        "delivery": "partial",
        "use": "data of groups",
        "strategy": "none",
        "precision": "bf16",
    },
    "the data in what a pool runs": {"crossing": "optimizer", "delivery": "thread", "use": "data"},
    "the data of groups, chosen by name": {"crossing": "by name", "use": "data of groups"},
    "lists by other names": {"place": "condition", "crossing": "of modules"},
    "weights of modules": {"maker": "loaded", "crossing": "weights", "inner": "data of a part"},
    "children of an unknown model": {
        "maker": "function of a name",
        "crossing": "of children",
        "inner": "data in a helper",
    },
    "checkpoints between every other step": {
        "crossing": "second model",
        "loop": "accumulate in branches",
        "checkpoint": "sharded there and back",
        "strategy": "grad",
    },
}


@pytest.mark.parametrize("name", TOGETHER)
def test_it_comes_out_the_same(name: str) -> None:
    judged = judge(put_together(TOGETHER[name]))
    assert judged.judgement is Judgement.SAME, f"{judged.made}\n{judged.why}"


@pytest.mark.slow
@LONG
@given(trained_programs())
def test_what_comes_out_otherwise_is_said_of_many(made: Made) -> None:
    _nothing_is_silent(made)
