"""Start a recorded program with torch's own launcher, and leave no process behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from fsdp_migrate.runtime.record.settings import Device
from fsdp_migrate.runtime.verify import supervise
from fsdp_migrate.runtime.verify.recording import watched_path

DUMP = 3.0  # seconds before the timeout at which ranks that still run say where they are
TAIL = 1 << 18  # bytes of output that are kept to explain a failure


@dataclass(frozen=True)
class Program:
    """What is run: a script or a module, in its folder.

    A scratch folder is a copy of which nothing is needed afterwards: what the program writes
    there is moved into the recording.
    """

    folder: Path
    target: str
    arguments: tuple[str, ...] = ()
    module: bool = False
    root: Path | None = None  # the project that the folder is in, first on the import path
    scratch: bool = False
    watched: tuple[tuple[str, int], ...] = ()  # paths below the root, and lines

    def words(self) -> list[str]:
        """The program and its arguments on a command line."""
        return [*(["-m"] if self.module else []), self.target, *self.arguments]


@dataclass(frozen=True)
class Launch:
    """How it is run.

    `launcher` is "torchrun" (`torch.distributed.run`), or "python" for programs that start
    their own ranks.  Without a choice, sums are order-independent where the order could matter:
    on more than two ranks.
    """

    nproc: int = 2
    timeout: float = 600.0
    device: Device = "auto"
    deterministic: bool | None = None
    keep: tuple[int, int] | None = None
    gpus: int | None = None
    seed: int = 0
    launcher: Literal["torchrun", "python"] = "torchrun"
    forbidden: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """How a run ended."""

    code: int
    timed_out: bool
    seconds: float
    output: str  # its end


def launch(program: Program, out: Path, how: Launch) -> Finished:
    """Record a program into the folder `out` and wait for it."""
    begin = time.monotonic()
    _watch(program, out)
    supervised = [sys.executable, "-I", "-S", supervise.__file__, str(os.getpid())]
    process = subprocess.Popen(
        [*supervised, *command(program, out, how)],
        cwd=program.folder,
        env=_environment(how),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    tail = _Tail(process.stdout)
    timed_out = False
    try:
        process.wait(how.timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        _end(process)
    return Finished(process.returncode, timed_out, time.monotonic() - begin, tail.text())


def command(program: Program, out: Path, how: Launch) -> list[str]:
    """The command line of a recorded run."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={how.nproc}"]
    deterministic = how.nproc > 2 if how.deterministic is None else how.deterministic
    options = ["--out", str(out), "--device", how.device]
    options += ["--deterministic-reductions"] if deterministic else []
    options += ["--keep-tensors", f"{how.keep[0]}-{how.keep[1]}"] if how.keep else []
    options += ["--gpus", str(how.gpus or how.nproc)]
    options += ["--seed", str(how.seed)]
    options += [word for path in _paths(program) for word in ("--path", str(path))]
    options += ["--forbid", str(how.forbidden)] if how.forbidden else []
    watched = watched_path(out)
    options += ["--watch", str(watched)] if watched.is_file() else []
    options += ["--dump-at", str(time.time() + how.timeout - DUMP)]
    record = ["-m", "fsdp_migrate.runtime.record", *options, *program.words()]
    return [sys.executable, *(torchrun if how.launcher == "torchrun" else []), *record]


def _watch(program: Program, out: Path) -> None:
    root = program.root or program.folder
    places: dict[str, dict[str, int]] = {}
    for path, line in program.watched:
        places.setdefault(str(root / path), {})[place(path, line)] = line
    if places:
        out.mkdir(parents=True, exist_ok=True)
        watched_path(out).write_text(json.dumps(places))


def place(path: str, line: int) -> str:
    """How a recording names a line."""
    return f"{path}:{line}"


def _paths(program: Program) -> list[Path]:
    """What comes before an installed version of the same project."""
    root = program.root or program.folder
    return [folder for folder in (root, root / "src") if folder.is_dir()]


def _environment(how: Launch) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        **how.environment,
    }


class _Tail:
    """The end of what a process writes, read as it comes so that it never has to wait."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._chunks: deque[bytes] = deque()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        size = 0
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._pipe.fileno(), 1 << 16):
                self._chunks.append(chunk)
                size += len(chunk)
                while size - len(self._chunks[0]) > TAIL:
                    size -= len(self._chunks.popleft())

    def text(self) -> str:
        """What was read; a process that outlived its parents may still hold the pipe."""
        self._thread.join(5)
        return b"".join(list(self._chunks))[-TAIL:].decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the supervisor kill what is left of a run: the launcher, its ranks, their children."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(2 * supervise.PATIENCE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
