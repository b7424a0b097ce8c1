"""`train_identically`: train two versions of a small program and compare, in a few seconds.

    verdict = train_identically(old_folder, new_folder, "train.py", ["--out", "{out}"], nproc=2)
    assert verdict.passed, verdict

Both versions are rehearsed on the CPU in forks of a warm process.  Recordings are kept for the
session by content, so that an original is trained once however many rewrites it is compared to.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fsdp_migrate.runtime.compare import Outcome, Tolerance, Verdict, compare, failed
from fsdp_migrate.runtime.verify.launch import Finished, Launch, Program

SERVER = Path(__file__).with_name("warm_server.py")


def train_identically(
    old: Path,
    new: Path,
    program: str,
    args: Sequence[str] = (),
    nproc: int = 2,
    *,
    gpus: int | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    tolerance: Tolerance | None = None,
) -> Verdict:
    """Train the program in the folders `old` and `new` and compare every step.

    `program` is a script ("train.py") or a module ("package.main"), relative to the folders.
    `{out}` in `args` is a fresh folder whose files are compared, `{src}` the program's folder.
    `gpus` is what `torch.cuda.device_count()` says.  Order-independent reductions are on.
    """
    runs = [
        record(folder, program, args, nproc, gpus=gpus, env=env, timeout=timeout)
        for folder in (old, new)
    ]
    problems = [
        f"the {which} version: {problem}"
        for which, (_, problem) in zip(("old", "new"), runs, strict=True)
        if problem
    ]
    verdict = compare(runs[0][0], runs[1][0], tolerance)
    if problems or verdict.outcome is Outcome.FAILED:
        recorded = map(str, verdict.differences if verdict.outcome is Outcome.FAILED else ())
        return failed(*recorded, *problems)
    return verdict


def record(
    folder: Path,
    program: str,
    args: Sequence[str] = (),
    nproc: int = 2,
    *,
    gpus: int | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    again: bool = False,
) -> tuple[Path, str]:
    """Record one version; gives the recording, and what went wrong or an empty text.

    A program that was recorded before is not run again, unless `again` asks for it.
    """
    folder = folder.resolve()
    key = repr((_content(folder), program, list(args), nproc, gpus, sorted((env or {}).items())))
    into = _work() / hashlib.sha256(key.encode()).hexdigest()[:24]
    answer = into / "answer.json"
    if again or not answer.exists():
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        words = [str(arg).replace("{src}", str(folder)) for arg in args]
        job = {
            "program": [program, *words] if program.endswith(".py") else ["-m", program, *words],
            "cwd": str(folder),
            "out": str(into),
            "log": str(into / "log.txt"),
            "nproc": nproc,
            "gpus": gpus or nproc,
            "keep": (0, sys.maxsize),
            "env": dict(env or {}),
            "timeout": timeout,
        }
        answer.write_text(json.dumps(_Server.run(job)))
    outcome = json.loads(answer.read_text())
    if outcome["timed_out"]:
        return into, f"still running after {timeout:g} s\n{_tail(into)}"
    if outcome["code"]:
        return into, f"exit code {outcome['code']}\n{_tail(into)}"
    return into, ""


def warm_launch(program: Program, out: Path, how: Launch) -> Finished:
    """Does what `fsdp_migrate.runtime.verify.launch.launch` does, in forks of the warm process."""
    begin = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    job = {
        "program": program.words(),
        "cwd": str(program.folder),
        "out": str(out),
        "log": str(out / "log.txt"),
        "nproc": how.nproc,
        "gpus": how.gpus or how.nproc,
        "keep": how.keep,
        "env": how.environment,
        "timeout": how.timeout,
    }
    answer = _Server.run(job)
    output = _tail(out, lines=1000)
    seconds = time.monotonic() - begin
    return Finished(answer["code"], answer["timed_out"], seconds, output)


class _Server:
    """The warm process, started when it is needed first."""

    process: subprocess.Popen[str] | None = None

    @classmethod
    def run(cls, job: dict[str, Any]) -> dict[str, Any]:
        if cls.process is None or cls.process.poll() is not None:
            cls.process = subprocess.Popen(
                [sys.executable, str(SERVER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": "1",
                    "PYTHONHASHSEED": "0",
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
            )
            atexit.register(cls.stop)
        assert cls.process.stdin is not None
        assert cls.process.stdout is not None
        cls.process.stdin.write(json.dumps(job) + "\n")
        cls.process.stdin.flush()
        line = cls.process.stdout.readline()
        if not line:
            raise RuntimeError("the warm process ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @classmethod
    def stop(cls) -> None:
        if cls.process is not None and cls.process.stdin is not None:
            cls.process.stdin.close()
            cls.process.wait(30)


@cache
def _work() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fsdp-migrate-training-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _content(folder: Path) -> list[tuple[str, str]]:
    """What is in a program's folder, and where it is: programs print and pickle their paths."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
    return [
        (str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in files
    ]


def _tail(run: Path, lines: int = 25) -> str:
    log = run / "log.txt"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""
