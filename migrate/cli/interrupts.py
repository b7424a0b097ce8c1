"""Signals that end a run: at once where nothing can be half done, else when the step is through."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupted(KeyboardInterrupt):
    """A signal has come; `code` is the exit code that tells which."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


class Interrupts:
    """While it is entered, signals that end a process raise `Interrupted` instead.

    With `to_the_end` the process has nothing to do afterwards but to exit with the code that was
    decided: what comes then is ignored, since it would only change that code.
    """

    def __init__(self, *, to_the_end: bool = False) -> None:
        self._to_the_end = to_the_end
        self._over = False
        self._depth = 0
        self._pending: int | None = None

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Until the end of the block; a signal that is ignored, as by nohup, stays so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        before = {n: signal.getsignal(n) for n in numbers}
        mine = [n for n in numbers if before[n] not in (signal.SIG_IGN, None)]
        for number in mine:
            signal.signal(number, self._received)
        try:
            yield
        finally:
            self._over = self._to_the_end
            for number in mine:
                # An own handler would be taken away while the interpreter shuts down.
                signal.signal(number, signal.SIG_IGN if self._to_the_end else before[number])

    @contextmanager
    def held(self) -> Iterator[None]:
        """What comes in the block is raised at its end."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            pending = self._pending
            if pending is not None and not self._depth:
                self._pending = None
                raise Interrupted(pending)

    def _received(self, number: int, _: FrameType | None) -> None:
        if self._over:
            return
        if self._depth:
            self._pending = number
        else:
            raise Interrupted(number)
