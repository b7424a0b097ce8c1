"""What git knows of the files that are changed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from support.command import NEW, OLD, Engine, command

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(*args: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *args], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simple engine, and a repository with two files."""
    monkeypatch.setattr("fsdp_migrate.engine.migrate", Engine())
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    for name in ("train.py", "a b/ümlaut.py"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(OLD)
    git("add", ".")
    git("commit", "--quiet", "-m", "start")


def undo(err: str) -> list[str]:
    """The command that is said to take it back, in words."""
    lines = err.splitlines()
    (number,) = [n for n, line in enumerate(lines) if line.endswith("To take it back:")]
    return shlex.split(lines[number + 1])


@pytest.mark.parametrize("folder", [".", "a b"])
def test_what_was_written_can_be_taken_back(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    ran = command("--write")
    assert "warning" not in ran.err
    changed = [path for path in Path().rglob("*.py") if path.read_text() == NEW]
    assert len(changed) == (2 if folder == "." else 1)
    subprocess.run(undo(ran.err), check=True)
    assert all(path.read_text() == OLD for path in changed)


def test_changes_that_are_not_committed_are_warned_of() -> None:
    Path("train.py").write_text(OLD + "x = 1\n")
    ran = command("--write")
    assert "warning: train.py: changed and not committed" in ran.err
    assert "Changed 2 files.\n" in ran.err
    assert "take it back" not in ran.err
    assert Path("train.py").read_text() == NEW + "x = 1\n"


def test_changes_in_other_files_do_not_matter() -> None:
    Path("other.py").write_text("x = 1\n")
    git("add", ".")
    assert undo(command("--write").err) == ["git", "restore", "--", "a b/ümlaut.py", "train.py"]


def test_many_files_are_taken_back_together_where_nothing_else_changed() -> None:
    for number in range(20):
        Path(f"m{number}.py").write_text(OLD)
    git("add", ".")
    assert "take it back" not in command("--write").err  # git has them, but no commit does
    git("commit", "--quiet", "-am", "more")
    for path in Path().rglob("*.py"):
        path.write_text(OLD)
    git("commit", "--quiet", "-am", "again")
    assert undo(command("--write").err) == ["git", "restore", "--", "."]


def test_a_file_that_git_does_not_have_is_not_promised() -> None:
    Path("new.py").write_text(OLD)
    ran = command("--write", "new.py")
    assert "Changed 1 file.\n" in ran.err


@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_without_git_nothing_is_said(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path)
    ran = command("--write")
    assert "Changed 2 files.\n" in ran.err


def test_outside_of_a_repository_nothing_is_said(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("plain"))
    Path("train.py").write_text(OLD)
    assert "Changed 1 file.\n" in command("--write").err
