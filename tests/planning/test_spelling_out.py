"""Arguments that are named where that makes plain calls, and only there."""

from __future__ import annotations

from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.findings.options import Options
from support.programs import dedent, migrate

HEAD = """\
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy

"""
PLAIN = """
def wrap(net, **kwargs):
    return FSDP(net, **kwargs)


wrap(nn.Linear(2, 2), sharding_strategy=ShardingStrategy.FULL_SHARD)
"""


def test_plain_calls_come_of_named_arguments() -> None:
    run = migrate(HEAD + PLAIN)
    assert "def wrap(net, sharding_strategy=None):\n" in run.after["train.py"]
    assert {item.tier for item in run.findings} == {Tier.NATIVE}


def test_places_are_those_of_the_program_as_written() -> None:
    text = HEAD + dedent("""
        def wrap(net, **kwargs): return FSDP(net, **kwargs)


        wrap(nn.Linear(2, 2), sharding_strategy=ShardingStrategy.FULL_SHARD)
    """)
    lines = text.split("\n")
    for item in migrate(text).findings:
        place = lines[item.line - 1][item.col - 1 :]
        assert place.startswith(("FSDP(", "ShardingStrategy.FULL_SHARD"))


def test_a_call_that_stays_is_as_it_was_written() -> None:
    text = HEAD + PLAIN.replace("(net, **kwargs)\n", "(net, **kwargs)  # fsdp-migrate: ignore\n")
    assert migrate(text).after["train.py"] == text


def test_one_call_is_spelt_out_and_another_one_stays() -> None:
    other = dedent("""
        def other(net, **options):
            return FSDP(net, **options)


        other(nn.Linear(2, 2), no_such_argument=1)
    """)
    after = migrate(HEAD + PLAIN + other).after["train.py"]
    assert "def wrap(net, sharding_strategy=None):\n" in after
    assert "def other(net, **options):\n" in after


def test_the_shape_of_fsdp1_has_the_dict() -> None:
    after = migrate(HEAD + PLAIN, Options(style="shim")).after["train.py"]
    assert "fully_shard_from_fsdp1(net, **kwargs)" in after
