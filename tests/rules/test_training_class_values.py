"""Programs that hand FSDP's class around train as before, and take nothing from the shim."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Tier
from support import contract
from support.class_value_cases import PROGRAMS, program
from support.programs import migrate
from support.training import train_identically


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_trains_identically(name: str, tmp_path: Path) -> None:
    run = migrate(program(name))
    assert not run.errors
    assert {item.tier for item in run.findings} == {Tier.NATIVE}
    contract.settles(run)
    for folder, text in (("old", program(name)), ("new", run.after["train.py"])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(text)
    verdict = train_identically(tmp_path / "old", tmp_path / "new", "train.py")
    assert verdict.identical, f"{verdict}\n{run.after['train.py']}"
