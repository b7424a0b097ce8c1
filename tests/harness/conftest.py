"""What the tests of the harness share."""

from __future__ import annotations

import pytest

from support.training import warm_launch


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are launched in forks of a warm process instead of under torchrun."""
    monkeypatch.setattr("fsdp_migrate.runtime.verify.proof.launch", warm_launch)
