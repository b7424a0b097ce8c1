"""Only what is new is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import NEW, OLD, Engine, command


@pytest.fixture(autouse=True)
def _engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simple engine, and a working folder with a baseline."""
    monkeypatch.setattr("fsdp_migrate.engine.migrate", Engine())
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/old.py").write_text(OLD + "# MANUAL\n")
    ran = command("--write-baseline", "known.json", ".")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "fsdp-migrate: wrote 2 findings to known.json\n"


def test_what_is_known_is_not_reported() -> None:
    ran = command("--check", "--baseline", "known.json", ".")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "Nothing new; 2 known by the baseline known.json.\n"
    assert command("--check", ".").code == 1


def test_lines_may_move_and_what_is_new_is_reported() -> None:
    old = Path("a/old.py")
    old.write_text("import os\n\n" + old.read_text())
    assert command("--baseline", "known.json").code == 0
    old.write_text(old.read_text() + OLD)
    Path("new.py").write_text("# NOTE\n")
    ran = command("--baseline", "known.json")
    assert (ran.code, ran.out) == (1, "a/old.py:5:36 FSDP101 a FullyShardedDataParallel\n")
    assert "Not reported: 2 known by the baseline known.json." in ran.err


def test_what_is_gone_is_said() -> None:
    Path("a/old.py").write_text("# MANUAL\n" + OLD.replace("Fully", "Wholly"))
    assert "1 of it are gone: write it anew." in command("--baseline", "known.json").err


def test_the_working_folder_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("a")
    assert command("--baseline", "../known.json").code == 0


def test_it_can_be_configured_and_keeps_nothing_from_being_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("pyproject.toml").write_text('[tool.fsdp-migrate]\nbaseline = "known.json"\n')
    monkeypatch.chdir("a")
    assert command("--check").code == 0
    assert "FSDP101" in command("--diff").err
    command("--write")
    assert Path("old.py").read_text() == NEW + "# MANUAL\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read the baseline other.json: No such file or directory"),
        ("{}", "other.json is no baseline"),
        ("[", "other.json is no baseline"),
        (json.dumps({"version": 0}), "is of another version; write it anew"),
    ],
)
def test_what_is_no_baseline_is_an_error(text: str | None, said: str) -> None:
    if text is not None:
        Path("other.json").write_text(text)
    ran = command("--check", "--baseline", "other.json")
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.parametrize("option", ["--write", "--diff"])
def test_a_baseline_is_written_by_itself(option: str) -> None:
    assert command("--write-baseline", "x.json", option).code == 2
