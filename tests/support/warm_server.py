"""Runs recorded programs in forks of a process that has torch loaded already.

Importing torch costs a rank several seconds, most of what a small program takes.  This server
pays once: it reads one job, a JSON object, per line and answers with one line.  It exists for
tests alone; `fsdp-migrate verify` launches through torch.distributed.run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import random
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

GRACE = 10.0  # seconds that the other ranks get after the first one failed


def serve() -> None:
    """Load everything, then fork the ranks of one job after the other."""
    from fsdp_migrate.runtime import rehearse

    rehearse.prepare_environment()
    import torch
    import torch.distributed.algorithms._checkpoint.checkpoint_wrapper
    import torch.distributed.checkpoint.format_utils

    import fsdp_migrate.runtime.record.program
    import fsdp_migrate.runtime.record.recorder  # noqa: F401

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(launch(json.loads(line))), flush=True)


def launch(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job; answers with the exit code of the first rank that failed."""
    port = _free_port()
    running: dict[int, int] = {}
    for rank in range(job["nproc"]):
        child = os.fork()
        if child == 0:
            os._exit(_rank(job, rank, port))
        running[child] = rank
    code, timed_out = 0, False
    deadline = time.monotonic() + job["timeout"]
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            running.pop(child, None)
            _kill_group(child)
            if status and not code:
                code = os.waitstatus_to_exitcode(status)
                deadline = min(deadline, time.monotonic() + GRACE)
        elif time.monotonic() > deadline:
            timed_out = not code
            code = code or -signal.SIGKILL
            for rank_process in running:
                _kill_group(rank_process)
            deadline += 60
        else:
            time.sleep(0.01)
    return {"code": code, "timed_out": timed_out}


def _rank(job: dict[str, Any], rank: int, port: int) -> int:
    from fsdp_migrate.runtime.record.program import run
    from fsdp_migrate.runtime.record.settings import Settings

    os.setsid()
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    world = str(job["nproc"])
    os.environ.update(
        job["env"],
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=world,
        LOCAL_WORLD_SIZE=world,
        GROUP_RANK="0",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        TORCHELASTIC_RUN_ID="test",
    )
    os.chdir(job["cwd"])
    faulthandler.dump_traceback_later(max(job["timeout"] - 1, 1))
    settings = Settings(
        out=Path(job["out"]),
        device="cpu",
        deterministic=True,
        keep=job["keep"] and tuple(job["keep"]),
        gpus=job["gpus"],
        seed=0,
    )
    try:
        run(settings, job["program"])
        return 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _kill_group(process: int) -> None:
    """End a rank and what it started, such as the workers of its loaders."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def _free_port() -> int:
    """A port below those that systems give to connections, which could take it before the store."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


if __name__ == "__main__":
    serve()
