"""What is held back, and with what reason."""

from __future__ import annotations

from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Fix, Tier
from fsdp_migrate.findings.options import Options
from fsdp_migrate.planning.hold_back import whole_units
from support.programs import dedent, migrate

WRAP = """
    from torch import nn
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

    model = FSDP(nn.Linear(2, 2)){comment}
    """


def item(
    name: str, tier: Tier, *units: str, line: int = 1, code: str = "FSDP101", blocking: bool = True
) -> Finding:
    """A finding in the file `name`, with a fix if its tier has one."""
    fix = Fix({}) if tier in (Tier.NATIVE, Tier.SHIM) else None
    return Finding(
        Path(name), line, 1, code, "said", tier, fix=fix, models=frozenset(units), blocking=blocking
    )


def fixed(findings: list[Finding]) -> list[str]:
    """The files in which something may be changed."""
    return sorted({each.path.name for each in findings if each.fix is not None})


def test_findings_that_share_nothing_do_not_wait_for_each_other() -> None:
    found = whole_units([item("a.py", Tier.NATIVE, "m1"), item("b.py", Tier.MANUAL, "m2")])
    assert fixed(found) == ["a.py"]


def test_a_file_is_migrated_as_a_whole() -> None:
    first, second = whole_units(
        [item("a.py", Tier.SHIM, "m1"), item("a.py", Tier.MANUAL, "m2", line=7, code="FSDP404")]
    )
    assert first.tier is Tier.MANUAL
    assert first.message == "said; held back by FSDP404 at a.py:7"
    assert second.message == "said"


def test_a_model_is_migrated_as_a_whole_through_all_files() -> None:
    found = [
        item("a.py", Tier.NATIVE, "m1"),
        item("b.py", Tier.NATIVE, "m1", "m2"),
        item("c.py", Tier.MANUAL, "m2"),
        item("d.py", Tier.NATIVE, "m3"),
    ]
    assert fixed(whole_units(found)) == ["d.py"]


def test_notes_connect_nothing() -> None:
    found = [
        item("a.py", Tier.NATIVE, "m1"),
        item("a.py", Tier.NOTE, "m1", "m2"),
        item("b.py", Tier.MANUAL, "m2"),
    ]
    assert fixed(whole_units(found)) == ["a.py"]


def test_what_never_worked_blocks_nothing() -> None:
    found = [item("a.py", Tier.NATIVE, "m1"), item("a.py", Tier.MANUAL, "m1", blocking=False)]
    assert fixed(whole_units(found)) == ["a.py"]


def test_a_comment_silences_its_line_and_holds_the_rest_back() -> None:
    run = migrate(dedent(WRAP.format(comment="  # fsdp-migrate: ignore[FSDP101]")))
    assert not run.changed
    assert all(each.code != "FSDP101" for each in run.findings)
    assert migrate(dedent(WRAP.format(comment="  # fsdp-migrate: ignore[FSDP404]"))).changed


def test_the_shim_can_be_ruled_out() -> None:
    text = dedent(
        """
        from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy

        def wrap(module, name):
            return FSDP(module, sharding_strategy=ShardingStrategy[name])
        """
    )
    assert any(each.tier is Tier.SHIM for each in migrate(text).findings)
    run = migrate(text, Options(runtime="never"))
    assert not run.changed
    assert any("the shim is ruled out (--runtime never)" in each.message for each in run.findings)
