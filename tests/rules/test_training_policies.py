"""Units that are chosen by policies of all kinds train as before, on two ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Tier
from support import contract
from support.policy_cases import IMPORTS, PROGRAMS, TRAIN
from support.programs import migrate
from support.training import train_identically
from support.training_cases import HEAD, TAIL


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_trains_identically(name: str, tmp_path: Path) -> None:
    body, words = PROGRAMS[name]
    before = IMPORTS + HEAD + TRAIN + body + TAIL
    run = migrate(before)
    assert not run.errors
    after = run.after["train.py"]
    assert {item.tier for item in run.findings} <= {Tier.NATIVE, Tier.NOTE}, after
    contract.settles(run)
    for folder, text in (("old", before), ("new", after)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(text)
    for word in words:
        verdict = train_identically(tmp_path / "old", tmp_path / "new", "train.py", [word])
        assert verdict.identical, f"{word}: {verdict}\n{after}"
