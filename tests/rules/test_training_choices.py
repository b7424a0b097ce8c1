"""Models that may be of several kinds, and parts of models, train as before, on two ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Tier
from support import contract
from support.choice_cases import CHOICES, IMPORTS
from support.programs import migrate
from support.training import train_identically
from support.training_cases import HEAD, TAIL


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_trains_identically(name: str, tmp_path: Path) -> None:
    before = IMPORTS + HEAD + CHOICES[name] + TAIL
    run = migrate(before)
    assert not run.errors
    assert not [str(item) for item in run.findings if item.tier is Tier.MANUAL]
    contract.settles(run)
    for folder, text in (("old", before), ("new", run.after["train.py"])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(text)
    verdict = train_identically(tmp_path / "old", tmp_path / "new", "train.py", ["{out}"])
    assert verdict.identical, f"{verdict}\n{run.after['train.py']}"
