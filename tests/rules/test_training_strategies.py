"""Strategies that only the run knows train as before, on two ranks, and on two nodes of two."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Tier
from support import contract
from support.programs import migrate
from support.strategy_cases import CASES, IMPORTS
from support.training import train_identically
from support.training_cases import HEAD, TAIL


@pytest.mark.parametrize("name", sorted(CASES))
def test_trains_identically(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    before = IMPORTS + HEAD + case.text + TAIL
    run = migrate(before)
    assert not run.errors
    assert {item.tier for item in run.findings} <= {Tier.NATIVE, Tier.NOTE}
    contract.settles(run)
    for folder, text in (("old", before), ("new", run.after["train.py"])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(text)
    for words, ranks in [*((w, 2) for w in case.runs), *((w, 4) for w in case.on_four)]:
        old, new = tmp_path / "old", tmp_path / "new"
        verdict = train_identically(old, new, "train.py", words.split(), ranks, gpus=2)
        assert verdict.identical, f"{words}: {verdict}\n{run.after['train.py']}"
