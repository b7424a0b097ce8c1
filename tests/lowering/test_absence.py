"""None for good, and None only as the program is configured."""

from __future__ import annotations

import pytest

from support.wraps import migrated, plan

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


SETTINGS = """\
class Config:
    sync = False
    policy = None


nothing = None


def shard(net, config, offload=None):
    return FSDP(net, auto_wrap_policy=config.policy, cpu_offload=offload, process_group=nothing{})


model = shard(Block(), Config())
"""


def test_settings_that_nothing_turns_on_are_said() -> None:
    assert plan(SETTINGS.format("")).left_out == ("auto_wrap_policy", "cpu_offload")


def test_the_first_weights_go_out_where_a_setting_asks_for_it() -> None:
    asked = ", sync_module_states=config.sync"
    assert "if config.sync:" in migrated(SETTINGS.format(asked))
    assert "sync_module_states" not in plan(SETTINGS.format(asked)).left_out
    assert "state_dict" not in migrated(SETTINGS.format(", sync_module_states=False"))
