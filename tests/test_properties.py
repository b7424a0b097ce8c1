"""What holds for any migration, over programs that nobody wrote.

`pytest -m slow tests/test_properties.py` looks at many more of them.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from fsdp_migrate.findings.finding import Tier
from support import contract
from support.generator import programs
from support.programs import Files, migrate

QUICK = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking a program takes minutes: `-m slow` does it
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=2000, derandomize=False, phases=[Phase.generate, Phase.shrink])


def holds(files: Files) -> None:
    """All properties of one program."""
    for name, text in files.items():
        note(f"# {name}\n{text}")
    run = migrate(files)
    contract.check(run)
    assert run.changed
    manual = [str(item) for item in run.findings if item.tier is Tier.MANUAL]
    assert not manual, "everything in these programs has an FSDP2 form"
    if len(files) > 1:
        backwards = migrate(dict(reversed(files.items())))
        assert dict(backwards.after) == dict(run.after), "the order of the files matters"
        assert backwards.findings == run.findings


@QUICK
@given(programs())
def test_any_program(files: Files) -> None:
    holds(files)


@settings(QUICK, max_examples=10)
@given(programs())
def test_any_program_in_other_newlines(files: Files) -> None:
    contract.check_variants(migrate(files))


@pytest.mark.slow
@LONG
@given(programs())
def test_many_programs(files: Files) -> None:
    holds(files)
    contract.check_variants(migrate(files))
