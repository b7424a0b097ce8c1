"""Runs a command, and ends with it everything that it has started: `supervise.py PARENT COMMAND`.

What a training program starts may leave its session, lose its parents and forget its environment.
On Linux this process adopts such orphans and ends with its own parent, so that nothing outlives a
run, whatever happens to whom.  Started as a file, with nothing but the standard library, so that
it is there at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

PATIENCE = 10.0  # seconds; a process of another user cannot be killed
_DEATH_SIGNAL, _ADOPT = 1, 36  # of prctl(2)


def main(parent: int, command: list[str]) -> NoReturn:
    """Run the command; end as it ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_ADOPT, 1, 0, 0, 0)
        libc.prctl(_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
    code = 1
    try:
        code = subprocess.Popen(command).wait()
    finally:
        end_descendants()
        if code < 0:
            with contextlib.suppress(OSError):  # there is no choice about SIGKILL
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        sys.exit(code)


def end_descendants() -> None:
    """Kill all processes below this one, until there are none."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    deadline = time.monotonic() + PATIENCE
    while (below := _descendants(os.getpid())) and time.monotonic() < deadline:
        for process in below:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for process, parent in _processes():
        children.setdefault(parent, []).append(process)
    found, rest = [], [root]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


def _processes() -> list[tuple[int, int]]:
    """All processes with their parents."""
    found = []
    if Path("/proc/self/stat").exists():
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    stat = Path("/proc", name, "stat").read_text()
                    found.append((int(name), int(stat.rpartition(") ")[2].split()[1])))
        return found
    words = ["ps", "-A", "-o", "pid=,ppid="]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as lister:
        for line in lister.communicate()[0].splitlines():
            process, parent = map(int, line.split())
            if process != lister.pid:
                found.append((process, parent))
    return found


def _stop(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
