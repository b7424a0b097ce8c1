"""Times as ratios: both sides run in turns on the same machine, and the best of each counts.

A busy machine makes both sides slower, so a ratio says more than seconds do.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


def best(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The best time of each side, in seconds."""
    times = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            times[name] = min(times[name], time.perf_counter() - start)
    return times


def python(*args: str) -> Callable[[], Any]:
    """A side: a fresh interpreter with `args`."""
    return lambda: subprocess.run([sys.executable, *args], stdout=subprocess.DEVNULL, check=False)


def show(title: str, times: Mapping[str, float]) -> None:
    """Print the times, and each as a multiple of the last, which is the yardstick."""
    *_, yardstick = times.values()
    print(title)
    for name, seconds in times.items():
        print(f"  {name:<46} {seconds * 1000:9.1f} ms {seconds / yardstick:8.2f} x")
