"""Accumulation, clipping and whole parameters, without the shim, train as before on two ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.runtime.compare import Aspect, Tolerance
from support import contract
from support.programs import migrate
from support.sync_cases import CLOSE, FEWER, PROGRAMS, program
from support.training import train_identically


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_trains_identically(name: str, tmp_path: Path) -> None:
    run = migrate(program(name))
    assert not run.errors
    assert {item.tier for item in run.findings} <= {Tier.NATIVE, Tier.NOTE}, run.findings
    contract.settles(run)
    for folder, text in (("old", program(name)), ("new", run.after["train.py"])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(text)
    tolerance = Tolerance(rtol=1e-5, atol=1e-7) if name in CLOSE else None
    old, new = tmp_path / "old", tmp_path / "new"
    verdict = train_identically(old, new, "train.py", ["{out}"], tolerance=tolerance)
    same = verdict.passed if name in CLOSE else verdict.identical
    if name in FEWER:  # FSDP2 gathers what is looked at, and that alone
        same = {each.aspect for each in verdict.differences} <= {Aspect.COLLECTIVES}
    assert same, f"{verdict}\n{run.after['train.py']}"
