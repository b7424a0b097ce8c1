"""A group of gloo processes that run one function after the other."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import traceback
import warnings
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

NO_ANSWER = "the process died, or hangs"
TIMEOUT = 40.0  # seconds until a rank that hangs in a collective gives up


class Ranks:
    """`world` processes in one process group; started on first use, restarted after a failure."""

    def __init__(self, world: int) -> None:
        self.world = world
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._pipes: list[Connection] = []

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def run(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """`function(*args)` on every rank; the results by rank.

        Raises:
            AssertionError: with the traceback of every rank that failed.
        """
        if not self._processes:
            self._start()
        for pipe in self._pipes:
            pipe.send((function, args))
        answers = []
        for pipe in self._pipes:
            try:
                answers.append(pipe.recv() if pipe.poll(2 * TIMEOUT) else (False, NO_ANSWER))
            except EOFError:
                answers.append((False, NO_ANSWER))
        failures = [f"rank {i}: {what}" for i, (fine, what) in enumerate(answers) if not fine]
        if 0 < len(failures) < self.world or any(what == NO_ANSWER for _, what in answers):
            self.stop()  # the others may be anywhere
        if failures:
            raise AssertionError("\n".join(failures))
        return [what for _, what in answers]

    def _start(self) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ["MKL_CBWR"] = "COMPATIBLE"
        context = multiprocessing.get_context("spawn")
        store = os.path.join(tempfile.mkdtemp(), "store")
        for rank in range(self.world):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(rank, self.world, store, there), daemon=True
            )
            process.start()
            self._processes.append(process)
            self._pipes.append(here)

    def stop(self) -> None:
        """End the processes, whatever they are doing."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
        self._processes, self._pipes = [], []


def _serve(rank: int, world: int, store: str, pipe: Connection) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=TIMEOUT),
    )
    while (job := pipe.recv()) is not None:
        function, args = job
        try:
            pipe.send((True, function(*args)))
        except BaseException:
            pipe.send((False, traceback.format_exc()))
    os._exit(0)  # ranks that wait for each other to leave take seconds
