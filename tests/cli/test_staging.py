"""New content replaces a file whole or not at all, whatever comes between."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fsdp_migrate.cli.staging import stage, sweep
from fsdp_migrate.syntax.source import Source, SourceError, read

LATIN = "# -*- coding: latin-1 -*-\ns = 'é'\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_bytes(b"a = 1\n")
    return path


def write(source: Source, text: str) -> None:
    """Stage new content and put it in its place, or clean up."""
    staged = stage(source, text)
    try:
        staged.commit()
    except BaseException:
        staged.discard()
        raise


def test_a_character_that_the_encoding_lacks_damages_nothing(file: Path) -> None:
    file.write_bytes(LATIN.encode("latin-1"))
    with pytest.raises(SourceError, match="iso-8859-1 cannot express '→'"):
        write(read(file), "# →\n")
    assert file.read_bytes() == LATIN.encode("latin-1")


@pytest.mark.parametrize("mode", [0o644, 0o755, 0o600, 0o664])
def test_permissions_are_kept(file: Path, mode: int) -> None:
    file.chmod(mode)
    write(read(file), "b = 2\n")
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert file.read_text() == "b = 2\n"


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    path, other = tmp_path / "new.py", tmp_path / "other.py"
    write(Source(path, ""), "a = 1\n")
    other.touch()
    assert path.read_text() == "a = 1\n"
    assert path.stat().st_mode == other.stat().st_mode


def test_a_linked_file_is_written_where_it_is(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "sub" / "link.py"
    link.parent.mkdir()
    link.symlink_to(file)
    write(read(link), "b = 2\n")
    assert link.is_symlink()
    assert file.read_text() == "b = 2\n"
    assert os.listdir(link.parent) == ["link.py"]


def test_a_file_that_changed_meanwhile_is_left_alone(file: Path) -> None:
    source = read(file)
    file.write_text("changed = True\n")
    with pytest.raises(SourceError, match="changed on disk"):
        write(source, "b = 2\n")
    assert file.read_text() == "changed = True\n"


def test_a_file_that_went_away_is_not_brought_back(file: Path) -> None:
    source = read(file)
    file.unlink()
    with pytest.raises(SourceError, match="no such file"):
        write(source, "b = 2\n")
    assert not file.exists()


@pytest.mark.parametrize("failing", ["os.replace", "os.fdopen", "os.chmod", "tempfile.mkstemp"])
def test_a_full_disk_damages_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = read(file)
    monkeypatch.setattr(failing, full)
    with pytest.raises(SourceError, match="cannot write: no space left on device"):
        write(source, "b = 2\n")
    monkeypatch.undo()
    assert file.read_text() == "a = 1\n"
    assert os.listdir(file.parent) == ["train.py"]


def test_an_interrupt_damages_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    source = read(file)
    monkeypatch.setattr("os.chmod", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(source, "b = 2\n")
    assert file.read_text() == "a = 1\n"
    assert os.listdir(file.parent) == ["train.py"]


def test_what_is_staged_can_be_discarded(file: Path) -> None:
    staged = stage(read(file), "b = 2\n")
    assert Path(staged.temporary).read_text() == "b = 2\n"
    staged.discard()
    assert os.listdir(file.parent) == ["train.py"]
    assert file.read_text() == "a = 1\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
@pytest.mark.parametrize("locked", ["file", "folder"])
def test_without_permission_nothing_is_written(file: Path, locked: str) -> None:
    source = read(file)
    target = file if locked == "file" else file.parent
    mode = target.stat().st_mode
    target.chmod(mode & ~0o222)
    try:
        with pytest.raises(SourceError, match="cannot write: permission denied"):
            write(source, "b = 2\n")
    finally:
        target.chmod(mode)
    assert file.read_text() == "a = 1\n"


def test_a_file_that_may_not_be_written_is_not_replaced(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writable folder would let a read-only file be replaced: it must not."""
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(SourceError, match="permission denied"):
        write(read(file), "b = 2\n")
    assert file.read_text() == "a = 1\n"


def test_what_changes_after_it_was_staged_is_the_users(file: Path) -> None:
    staged = stage(read(file), "b = 2\n")
    file.write_text("mine = 3\n")
    with pytest.raises(SourceError, match="changed on disk"):
        staged.commit()
    assert file.read_text() == "mine = 3\n"


def _left_by(folder: Path, process: int) -> Path:
    staged = stage(Source(folder / "new.py", ""), "x = 1\n")
    name = Path(staged.temporary).name.replace(f"-{os.getpid()}-", f"-{process}-")
    return Path(staged.temporary).rename(folder / name)


def test_what_a_killed_run_left_is_swept_and_nothing_else(file: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, own = _left_by(file.parent, ended.pid), _left_by(file.parent, os.getpid())
    alive = _left_by(file.parent, os.getppid())
    host = int(dead.name.split("-")[2])
    young = dead.with_name(dead.name.replace(f"-{host}-", f"-{host + 1}-"))
    young.touch()
    old = young.with_name(young.name.replace(".tmp", "x.tmp"))
    old.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    mine = file.with_name(".fsdp-migrate-notes.tmp")
    mine.touch()
    sweep([file.parent, file.parent / "nowhere"])
    assert sorted(file.parent.iterdir()) == sorted([file, alive, young, mine])
    assert not own.exists()
