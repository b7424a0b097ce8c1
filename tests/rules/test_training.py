"""What these rules rewrite trains as before, on two ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.findings.options import Options, StateDicts
from fsdp_migrate.runtime.compare import Tolerance
from support import contract
from support.programs import migrate
from support.training import train_identically
from support.training_cases import CLOSE, PROGRAMS, program, states


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_trains_identically(name: str, tmp_path: Path) -> None:
    run = migrate(program(name))
    assert not run.errors
    assert not [str(item) for item in run.findings if item.tier is Tier.MANUAL]
    contract.settles(run)
    contract.keeps_comments(run)
    for folder, text in (("old", program(name)), ("new", run.after["train.py"])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(text)
    tolerance = Tolerance(rtol=1e-5, atol=1e-7) if name in CLOSE else None
    verdict = train_identically(tmp_path / "old", tmp_path / "new", "train.py", tolerance=tolerance)
    assert verdict.passed, f"{verdict}\n{run.after['train.py']}"


@pytest.mark.parametrize("way", ["dcp", "dtensor"])
def test_state_dicts_both_ways(way: StateDicts, tmp_path: Path) -> None:
    run = migrate(states(), Options(state_dict=way))
    assert not run.errors
    assert {item.tier for item in run.findings} == {Tier.NATIVE}
    assert ("DTensor" in run.after["train.py"]) == (way == "dtensor")
    contract.settles(run)
    for folder, text in (("old", states()), ("new", run.after["train.py"])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(text)
    verdict = train_identically(tmp_path / "old", tmp_path / "new", "train.py", ["{out}"])
    assert verdict.identical, f"{verdict}\n{run.after['train.py']}"
