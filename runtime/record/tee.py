"""What a program writes to its standard output and its standard error, written down as well."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from fsdp_migrate.runtime.rehearse.patching import put

LIMIT = 64 << 20  # characters that are copied; nobody reads more


class Tee:
    """Passes everything on; keeps a copy in memory until it is told where the copy goes.

    What it does not do itself, the screen does: it may be asked for its encoding or descriptor.
    """

    def __init__(self, screen: TextIO) -> None:
        self.used = False
        self._screen = screen
        self._copy: TextIO = io.StringIO()
        self._left = LIMIT
        self._deaf = 0

    def into(self, path: Path) -> None:
        """Write the copy to a file from now on."""
        before = self._copy
        self._copy = path.open("w", errors="backslashreplace")
        if isinstance(before, io.StringIO):
            self._copy.write(before.getvalue())

    def forget(self) -> None:
        """Begin a new copy, for a process that was forked."""
        self.used = False
        self._copy = io.StringIO()

    def write(self, text: str) -> int:
        """Write to the screen and to the copy."""
        self.used = True
        if self._left > 0 and not self._deaf:
            self._copy.write(text[: self._left])
            self._left -= len(text)
        return self._screen.write(text)

    @contextlib.contextmanager
    def deaf(self) -> Iterator[None]:
        """Pass on what is written inside, but copy nothing of it."""
        self._deaf += 1
        try:
            yield
        finally:
            self._deaf -= 1

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush both."""
        self._copy.flush()
        self._screen.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._screen, name)


def without_libraries(errors: Tee) -> None:
    """Copy neither warnings nor what torch logs: FSDP1 and FSDP2 say other things there."""
    log: Any = logging.Logger.handle
    warn: Callable[..., None] = warnings._showwarnmsg_impl  # type: ignore[attr-defined]

    @functools.wraps(log)
    def handle(self: logging.Logger, record: logging.LogRecord) -> Any:
        if record.name.partition(".")[0] not in _LIBRARIES and record.name != "py.warnings":
            return log(self, record)
        with errors.deaf():
            return log(self, record)

    @functools.wraps(warn)
    def show(message: Any) -> None:
        with errors.deaf():
            warn(message)

    put(logging.Logger, handle=handle)
    put(warnings, _showwarnmsg_impl=show)


_LIBRARIES = {"torch", "fsdp_migrate", "torchao", "torchvision"}
