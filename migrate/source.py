"""A Python file as text that can be written back without changing a byte that need not change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """The text of a file, newlines as they are in it, and how it is encoded."""

    path: Path
    text: str
    encoding: str = "utf-8"
    bom: bool = False
