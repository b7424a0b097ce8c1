"""Made-up programs come out of the migration the same, or the report says what differs.

`python tests/differential.py` runs as many as you like and prints those that aren't the same.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from support.fuzz.differential import Judgement, judge
from support.fuzz.programs import Made, trained_programs

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


@pytest.mark.slow
@LONG
@given(trained_programs())
def test_what_comes_out_otherwise_is_said_of_many(made: Made) -> None:
    _nothing_is_silent(made)
