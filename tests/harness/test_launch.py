"""Runs that crash, hang, fork or talk without end: a clear message, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsdp_migrate.runtime.compare import Outcome
from fsdp_migrate.runtime.verify import launch as launching
from fsdp_migrate.runtime.verify import supervise
from fsdp_migrate.runtime.verify.launch import Launch, Program, command
from fsdp_migrate.runtime.verify.proof import prove
from fsdp_migrate.runtime.verify.scratch import PLACE, collect, snapshot

ONE = Launch(nproc=1, launcher="python", device="cpu", timeout=60)


def program(tmp_path: Path, text: str, *arguments: str) -> Program:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "train.py").write_text(text)
    return Program(tmp_path, "train.py", arguments)


def left_behind(sign: str) -> list[str]:
    """Processes whose command line holds the sign."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
        except OSError:
            continue
        if sign in line and "pytest" not in line:
            found.append(line)
    return found


HANGS = """
import subprocess, sys, time
child = [sys.executable, "-c", "import time; time.sleep(500)  # {sign}"]
subprocess.Popen(child)
subprocess.Popen(child, start_new_session=True)
def wait_for_nothing():
    time.sleep(500)
wait_for_nothing()
"""


def test_a_hang_is_ended_and_located(tmp_path: Path) -> None:
    sign = f"sign-{time.time_ns()}"
    hanging = program(tmp_path, HANGS.format(sign=sign))
    how = Launch(nproc=1, launcher="python", device="cpu", timeout=20)
    verdict = prove(hanging, hanging, tmp_path / "work", how).verdict
    assert verdict.outcome is Outcome.FAILED
    assert "the old version was still running after 20 s" in str(verdict)
    assert "a rank hangs in wait_for_nothing" in str(verdict)
    assert not left_behind(sign)


def test_children_of_a_program_that_ended_are_ended_too(tmp_path: Path) -> None:
    sign = f"sign-{time.time_ns()}"
    text = (
        HANGS.format(sign=sign)
        .replace("wait_for_nothing()\n", "pass\n")
        .replace("def pass", "def wait")
    )
    finished = launching.launch(program(tmp_path, text), tmp_path / "out", ONE)
    assert finished.code == 0
    assert not left_behind(sign)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise ValueError('no more data')", "ValueError: no more data"),
        ("import sys; sys.exit(4)", "sys.exit(4)"),
        ("import os; os._exit(5)", "os._exit(5)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("print('nothing to train')", "took no optimizer step"),
        ("this is no Python", "SyntaxError"),
        ("import flash_attn", "No module named 'flash_attn' (train.py:1: import flash_attn)"),
        ("import flash_attn", "--device cuda compares on GPUs"),
        ("import torch\nassert torch.zeros(1).device.type == 'cuda'", "--device cuda compares"),
    ],
)
def test_a_failure_is_explained(tmp_path: Path, text: str, words: str) -> None:
    failing = program(tmp_path, text)
    verdict = prove(failing, failing, tmp_path / "work", ONE).verdict
    assert verdict.outcome is Outcome.FAILED
    assert words in str(verdict)


def test_a_crash_of_one_rank_under_torchrun(tmp_path: Path) -> None:
    text = """
import torch, torch.distributed as dist
dist.init_process_group("nccl")
if dist.get_rank() == 1:
    raise KeyError("rank 1 has no such key")
dist.barrier()
"""
    sign = str(tmp_path)
    failing = program(tmp_path, text)
    how = Launch(device="cpu", timeout=90)
    verdict = prove(failing, failing, tmp_path / "work", how).verdict
    assert verdict.first is not None
    assert "rank 1: KeyError: 'rank 1 has no such key'" in str(verdict.first)
    assert not left_behind(sign)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sys.exit(0)", "rank 1: had ended after 0 optimizer steps, without an error"),
        ("os.kill(os.getpid(), 9)", "rank 1: was killed or crashed after 0 optimizer steps"),
    ],
)
def test_a_rank_that_others_miss_is_named(tmp_path: Path, text: str, words: str) -> None:
    script = f"""
import os, sys, torch, torch.distributed as dist
dist.init_process_group("nccl")
loss = torch.zeros(1, requires_grad=True)
loss.sum().backward()
dist.barrier()
if dist.get_rank() == 1:
    {text}
dist.barrier()
"""
    failing = program(tmp_path, script)
    verdict = prove(failing, failing, tmp_path / "work", Launch(device="cpu", timeout=60)).verdict
    assert words in str(verdict)


SLEEP = "import time; time.sleep(500)  # {}"
ESCAPES = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", sys.argv[1]], {})
    os._exit(0)
os.wait()
"""
STARTS = """
import os, subprocess, sys
subprocess.run([*sys.argv[1:5], str(os.getpid()), *sys.argv[5:]])
"""
SUPERVISE = [sys.executable, "-I", "-S", supervise.__file__]


def test_a_process_that_hides_is_ended_too(tmp_path: Path) -> None:
    sign = f"sign-{time.time_ns()}"
    words = [sys.executable, "-c", ESCAPES, SLEEP.format(sign)]
    done = subprocess.run([*SUPERVISE, str(os.getpid()), *words], check=False)
    assert done.returncode == 0
    assert not left_behind(sign)


def test_a_run_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    sign = f"sign-{time.time_ns()}"
    wait = [sys.executable, "-c", SLEEP.format(sign)]
    start = [sys.executable, "-c", STARTS, *SUPERVISE, *wait]
    starter = subprocess.Popen(start)
    deadline = time.monotonic() + 30
    while not left_behind(sign) and time.monotonic() < deadline:
        time.sleep(0.05)
    starter.kill()
    starter.wait()
    while left_behind(sign) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left_behind(sign)


def test_a_signal_is_passed_on() -> None:
    words = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    done = subprocess.run([*SUPERVISE, str(os.getpid()), *words], check=False)
    assert done.returncode == -9


def test_endless_output_is_read_but_not_kept(tmp_path: Path) -> None:
    text = "for n in range(60_000): print('x' * 500)"
    finished = launching.launch(program(tmp_path, text), tmp_path / "out", ONE)
    assert finished.code == 0
    assert len(finished.output) <= launching.TAIL


@pytest.mark.slow
def test_an_installed_copy_of_the_project_is_not_what_is_tested(tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.mkdir()
    (original / "helper.py").write_text("")
    text = f"import sys; sys.path.insert(0, {str(original)!r}); import helper"
    how = Launch(nproc=1, launcher="python", device="cpu", timeout=60, forbidden=original)
    old = program(tmp_path / "copy", text)
    verdict = prove(old, old, tmp_path / "work", how).verdict
    assert "not the version under test" in str(verdict)


def test_the_command_is_that_of_torchrun(tmp_path: Path) -> None:
    words = command(Program(tmp_path, "pkg.main", ("-x",), module=True), tmp_path, Launch(nproc=4))
    assert words[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert "--nproc-per-node=4" in words
    assert "--deterministic-reductions" in words
    assert words[-3:] == ["-m", "pkg.main", "-x"]
    two = command(Program(tmp_path, "t.py"), tmp_path, Launch(nproc=2))
    assert "--deterministic-reductions" not in two


def test_files_in_a_scratch_folder_are_collected(tmp_path: Path) -> None:
    root, out = tmp_path / "project", tmp_path / "out"
    (root / "data").mkdir(parents=True)
    (root / "data" / "in.txt").write_text("1")
    (root / "log.txt").write_text("a")
    before = snapshot(root)
    (root / "log.txt").write_text("ab")
    (root / "runs").mkdir()
    (root / "runs" / "x.pt").write_text("x")
    collect(root, before, out)
    found = {str(p.relative_to(out / "files" / PLACE)) for p in out.rglob("*") if p.is_file()}
    assert found == {"log.txt", "runs/x.pt"}
    assert not (root / "runs" / "x.pt").exists()


def test_importing_the_harness_is_cheap() -> None:
    text = """
import sys
import fsdp_migrate.runtime.verify.recording, fsdp_migrate.runtime.verify.launch
for name in ("click", "libcst", "fsdp_migrate.cli.main", "fsdp_migrate.engine", "torch._dynamo"):
    assert name not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", text], check=True)
