"""Standard output that is written down as well."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TextIO


class Tee(io.TextIOBase):
    """Passes everything on; keeps it in memory until it is told where the copy goes."""

    def __init__(self, screen: TextIO) -> None:
        super().__init__()
        self.used = False
        self._screen = screen
        self._copy: TextIO | None = io.StringIO()

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
        self.used = True
        if self._copy is not None:
            self._copy.write(text)
        return self._screen.write(text)

    def flush(self) -> None:
        if self._copy is not None:
            self._copy.flush()
        self._screen.flush()

    def writable(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._screen, name)
