"""Files that say of themselves that they are to be left alone."""

from __future__ import annotations

import re

MARK = "fsdp-migrate: ignore-file"
_LINE = re.compile(rf"^\s*#\s*{re.escape(MARK)}\s*$", re.MULTILINE)


def is_ignored(text: str) -> bool:
    """Whether a comment, on a line of its own, asks to leave the whole file as it is."""
    return MARK in text and _LINE.search(text) is not None
