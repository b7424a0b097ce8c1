"""What the user chose."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.options import Options


@pytest.mark.parametrize(
    ("select", "ignore", "code", "expected"),
    [
        ((), (), "FSDP101", False),
        (("FSDP1",), (), "FSDP101", False),
        (("FSDP1",), (), "FSDP201", True),
        ((), ("FSDP1",), "FSDP101", True),
        (("FSDP1",), ("FSDP101",), "FSDP101", True),
        (("FSDP101",), ("FSDP1",), "FSDP101", False),
        (("FSDP1",), ("FSDP1",), "FSDP101", True),
    ],
)
def test_the_longer_beginning_of_a_code_counts(
    select: tuple[str, ...], ignore: tuple[str, ...], code: str, expected: bool
) -> None:
    assert Options(select=select, ignore=ignore).rules_out(code) is expected
