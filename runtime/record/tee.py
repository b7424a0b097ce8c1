"""Standard output that is written down as well."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

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
        if self._left > 0:
            self._copy.write(text[: self._left])
            self._left -= len(text)
        return self._screen.write(text)

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
