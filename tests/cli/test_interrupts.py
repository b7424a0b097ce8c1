"""Signals during a run: never half a program, never litter, and the count is right."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsdp_migrate.cli.interrupts import Interrupted, Interrupts

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are different there")

FILES = 40
OLD = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n\n\n"
OLD += "def build(net):\n    return FSDP(net)\n"
# Renames take a while, so that a signal meets them.
SLOW = """
import os, time
import fsdp_migrate.cli.migrate as step
from fsdp_migrate.cli import staging
real = os.replace
def replace(one, other):
    time.sleep(0.004)
    real(one, other)
os.replace = replace
commit = step._commit
def announced(*args):
    open("started", "w").close()
    commit(*args)
step._commit = announced
from fsdp_migrate.__main__ import main
main()
"""


def test_a_signal_waits_for_the_end_of_a_step() -> None:
    interrupts, steps = Interrupts(), []

    def run() -> None:
        with interrupts.raised():
            with interrupts.held():
                with interrupts.held():
                    os.kill(os.getpid(), signal.SIGTERM)
                    steps.append("inner")
                steps.append("outer")
            steps.append("never")

    with pytest.raises(Interrupted) as raised:
        run()
    assert steps == ["inner", "outer"]
    assert raised.value.code == 128 + signal.SIGTERM


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().raised():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_handlers_are_given_back() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Interrupts().raised():
        pass
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_end_changes_nothing(tmp_path: Path, number: int) -> None:
    (tmp_path / "train.py").write_text(OLD)
    code = "import atexit, os\nfrom fsdp_migrate.__main__ import main\n"
    code += f"atexit.register(os.kill, os.getpid(), {int(number)})\n"
    code += "class Last:\n    def __del__(self, kill=os.kill, me=os.getpid()):\n"
    code += f"        kill(me, {int(number)})\nlast = Last()\nmain()\n"
    command = [sys.executable, "-c", code, "--write", "."]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert "interrupted" not in ran.stderr
    assert "fully_shard(" in (tmp_path / "train.py").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("times", [2, pytest.param(200, marks=pytest.mark.slow)])
def test_signals_while_files_are_replaced(tmp_path: Path, number: int, times: int) -> None:
    for turn in range(times):
        folder = tmp_path / str(turn)
        folder.mkdir()
        for name in range(FILES):
            (folder / f"f{name}.py").write_text(OLD)
        code, said = _interrupted(folder, number, random.Random(turn).uniform(0, 0.2))
        texts = [path.read_text() for path in folder.glob("*.py")]
        new = sum("fully_shard(" in text for text in texts)
        assert new + texts.count(OLD) == FILES, "no half file"
        if number != signal.SIGKILL:
            assert new in (0, FILES)
            assert not list(folder.glob(".*")), "no litter"
            assert "Traceback" not in said
            if code != 0:
                assert code == 128 + number
                assert re.search(rf"{FILES} files were changed" if new else "no file was", said)
        again = [sys.executable, "-m", "fsdp_migrate", "--write", "."]
        subprocess.run(again, cwd=folder, check=True, capture_output=True)
        assert not list(folder.glob(".*")), "no litter after the next run"
        assert all("fully_shard(" in path.read_text() for path in folder.glob("*.py"))


def _interrupted(folder: Path, number: int, after: float) -> tuple[int, str]:
    """The exit code and the words of a run that got a signal while it replaced files."""
    command = [sys.executable, "-c", SLOW, "--write", "."]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not (folder / "started").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(after)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    (folder / "started").unlink(missing_ok=True)
    return process.returncode, said


def test_an_interrupt_while_the_command_is_loaded() -> None:
    code = "import sys\nfrom fsdp_migrate import __main__ as command\n"
    code += "class Finder:\n    def find_spec(self, name, *_):\n"
    code += "        if name == 'click':\n            raise KeyboardInterrupt\n"
    code += "sys.meta_path.insert(0, Finder())\ncommand.main()\n"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (130, "fsdp-migrate: interrupted\n")
