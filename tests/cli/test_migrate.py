"""What the command line does to files: diffs that apply, and bytes that stay."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fsdp_migrate.engine import Migration
from support.command import NEW, OLD, Engine, command

BODY = "x = 'é'\n" + "pass\n" * 8

FILES = {
    "plain.py": (OLD + BODY).encode(),
    "crlf.py": (OLD + BODY).replace("\n", "\r\n").encode(),
    "cr.py": ("a = 1\r" + OLD.replace("\n", "\r") + "b = 2\r").encode(),
    "no_newline.py": (BODY + OLD).rstrip("\n").encode(),
    "only_line.py": OLD.rstrip("\n").encode(),
    "bom.py": b"\xef\xbb\xbf" + (OLD + BODY).encode(),
    "latin.py": ("# coding: latin-1\n" + OLD + BODY).encode("latin-1"),
    "form_feed.py": (OLD + "\f\nx = '\x1c \x85 \u2028'\n" + OLD).encode(),
    "with space.py": (OLD + BODY).encode(),
    "ümlaut.py": (OLD + BODY).encode(),
    "deep/er/nested.py": (OLD + BODY).encode(),
    'quo"te.py': (OLD + BODY).encode(),
}
NEW_FILES = {
    name: data.replace(b"FullyShardedDataParallel", b"fully_shard") for name, data in FILES.items()
}


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A simple engine, and a working folder with a file of every kind."""
    simple = Engine()
    monkeypatch.setattr("fsdp_migrate.engine.migrate", simple)
    monkeypatch.chdir(tmp_path)
    return simple


@pytest.fixture
def files(engine: Engine) -> None:
    """A file of every kind."""
    for name, data in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(data)


def contents() -> dict[str, bytes]:
    return {
        path.as_posix(): path.read_bytes()
        for path in Path().rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


@pytest.mark.usefixtures("files")
def test_write_keeps_what_need_not_change() -> None:
    assert command("--write").code == 0
    assert contents() == NEW_FILES


@pytest.mark.usefixtures("files")
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("folder", [".", "deep"])
def test_git_applies_the_diff(folder: str) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)
    os.chdir(folder)
    ran = command("--diff")
    assert ran.code == 1
    assert "FSDP101" in ran.err
    assert "FSDP101" not in ran.out
    subprocess.run(["git", "apply", "-"], input=ran.out_bytes, check=True)
    os.chdir("." if folder == "." else "..")
    changed = {name for name in FILES if folder == "." or name.startswith(f"{folder}/")}
    assert contents() == {name: (NEW_FILES if name in changed else FILES)[name] for name in FILES}


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_patch_applies_the_diff() -> None:
    Path("train.py").write_bytes(FILES["no_newline.py"])
    subprocess.run(["patch", "-p1", "--quiet"], input=command("--diff").out_bytes, check=True)
    assert Path("train.py").read_bytes() == NEW_FILES["no_newline.py"]


def test_the_diff_of_a_file_given_absolutely_is_relative() -> None:
    path = Path("pkg/train.py")
    path.parent.mkdir()
    path.write_text(OLD)
    assert command("--diff", path.absolute()).out.startswith(
        "--- a/pkg/train.py\n+++ b/pkg/train.py\n@@ -1 +1 @@\n"
    )


def test_a_new_file_is_in_the_diff_and_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    new = Path("runtime_copy.py")
    migration = Migration(changes={new: "a = 1\n"})
    monkeypatch.setattr("fsdp_migrate.engine.migrate", lambda *_: migration)
    Path("train.py").write_text(OLD)
    assert command("--diff").out == (
        "--- /dev/null\n+++ b/runtime_copy.py\n@@ -0,0 +1 @@\n+a = 1\n"
    )
    assert command("--write").code == 0
    assert new.read_text() == "a = 1\n"
    assert command("--write").code == 0


@pytest.mark.usefixtures("files")
def test_a_full_disk_leaves_every_file_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are ready or none is replaced: half of a project is migrated in no case."""
    real, calls = os.fdopen, []

    def full(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr("os.fdopen", full)
    ran = command("--write")
    assert ran.code == 2
    assert "cannot write: no space left on device" in ran.err
    assert "No file was changed." in ran.err
    assert contents() == FILES


@pytest.mark.usefixtures("files")
def test_an_interrupt_while_files_are_prepared_leaves_all_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def interrupted(path: str, mode: int) -> None:
        calls.append(path)
        if len(calls) > 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("os.chmod", interrupted)
    ran = command("--write")
    assert ran.code == 130
    assert "interrupted; no file was changed" in ran.err
    assert contents() == FILES


@pytest.mark.skipif(os.name == "nt", reason="signals are different there")
def test_control_c_ends_the_process_cleanly() -> None:
    Path("train.py").write_text(OLD)
    code = (
        "import signal, time, fsdp_migrate.engine as engine, fsdp_migrate.cli.main as cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it\n"
        "def slow(*_):\n"
        "    open('started', 'w').close()\n"
        "    time.sleep(30)\n"
        "engine.migrate = slow\n"
        "cli.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--write"], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 20
    while not Path("started").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == "fsdp-migrate: interrupted; no file was changed, and no file is damaged\n"
    assert Path("train.py").read_text() == OLD


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("args", [[], ["--diff"], ["--help"]])
def test_output_that_cannot_be_written_is_an_error(args: list[str]) -> None:
    Path("train.py").write_text(
        OLD + "import torch\nm = FullyShardedDataParallel(torch.nn.ReLU())\n"
    )
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "fsdp_migrate", *args],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 2
    assert "cannot print: No space left on device" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    Path("train.py").write_text(OLD + "m = FullyShardedDataParallel(x)\n" * 100)
    process = subprocess.Popen(
        [sys.executable, "-m", "fsdp_migrate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert "Traceback" not in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_without_permission_nothing_is_written() -> None:
    Path("a.py").write_text(OLD)
    Path("b.py").write_text(OLD)
    Path("b.py").chmod(0o444)
    ran = command("--write")
    assert ran.code == 2
    assert "b.py: cannot write: permission denied" in ran.err
    assert Path("a.py").read_text() == OLD
    assert NEW != OLD
