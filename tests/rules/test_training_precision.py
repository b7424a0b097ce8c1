"""Precisions that are made elsewhere train as before, on two ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Tier
from support import contract
from support.precision_cases import ATTENTIVE, IMPORTS, PROGRAMS, SCALED, WITH_ATTENTION
from support.programs import migrate
from support.training import train_identically
from support.training_cases import HEAD, TAIL


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_trains_identically(name: str, tmp_path: Path) -> None:
    body, runs = PROGRAMS[name]
    _trains_identically(IMPORTS + HEAD + SCALED + body + TAIL, runs, tmp_path)


@pytest.mark.parametrize("name", sorted(WITH_ATTENTION))
def test_units_by_size_beside_attention(name: str, tmp_path: Path) -> None:
    body, runs = WITH_ATTENTION[name]
    _trains_identically(IMPORTS + HEAD + ATTENTIVE + body + TAIL, runs, tmp_path)


def _trains_identically(before: str, runs: tuple[str, ...], tmp_path: Path) -> None:
    run = migrate(before)
    assert not run.errors
    after = run.after["train.py"]
    assert {item.tier for item in run.findings} <= {Tier.NATIVE, Tier.NOTE}, after
    contract.settles(run)
    for folder, text in (("old", before), ("new", after)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(text)
    for words in runs:
        verdict = train_identically(tmp_path / "old", tmp_path / "new", "train.py", [words])
        assert verdict.identical, f"{words}: {verdict}\n{after}"
