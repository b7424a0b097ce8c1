"""None for good, and None only as the program is configured."""

from __future__ import annotations

import pytest

from support.wraps import migrated

TABLE = "TABLE = {'a': None, 'b': %s}\n\n\n"
TABLES = {
    "mixed_precision": ("MixedPrecision(torch.half)", "TABLE[kind] or MixedPrecisionPolicy()"),
    "cpu_offload": ("CPUOffload(True)", "TABLE[kind] or OffloadPolicy()"),
}


@pytest.mark.parametrize("parameter", TABLES)
def test_a_setting_that_is_none_today(parameter: str) -> None:
    value, expected = TABLES[parameter]
    text = f"{TABLE % value}kind = 'a'\nmodel = FSDP(Block(), {parameter}=TABLE[kind])\n"
    assert expected in migrated(text)


@pytest.mark.parametrize("parameter", TABLES)
def test_none_that_is_written(parameter: str) -> None:
    value, _ = TABLES[parameter]
    text = f"{TABLE % value}nothing = None\nmodel = FSDP(Block(), {parameter}=nothing)\n"
    assert "policy=" not in migrated(text)
