"""The vocabulary that the rules, the engine and the reports share.

A rule answers a site with findings; a finding carries a fix or says why there is none; a fix
is edits as data.  Nothing here knows how a finding is made, applied or printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from fsdp_migrate.findings.edits import Edit


class Tier(Enum):
    """What became of a site."""

    NATIVE = "native"  # plain PyTorch, no dependency on this project
    SHIM = "shim"  # a call into fsdp_migrate.runtime
    MANUAL = "manual"  # left as it was: a person has to decide
    NOTE = "note"  # nothing to change, something to know


class Safety(Enum):
    """Whether a fix keeps what the program does."""

    SAFE = "safe"  # trains bit for bit as before
    UNSAFE = "unsafe"  # can change the outcome of a run; the message says how


@dataclass(frozen=True)
class Fix:
    """The edits that settle a finding, by file."""

    edits: Mapping[Path, tuple[Edit, ...]]
    safety: Safety = Safety.SAFE


@dataclass(frozen=True, order=True)
class Place:
    """Where a finding is, and what it is about; `line` and `col` count from 1, as editors do."""

    path: Path
    line: int
    col: int
    code: str


@dataclass(frozen=True)
class Finding:
    """One thing that the program has to say about one place.

    `models` are the wrap sites that the place depends on: they are migrated together or not at
    all.  `held_by` is the place that nobody can change, because of which this one stays; where
    several such places hold back the same, they name the first of them as `blocks_with`.
    """

    path: Path
    line: int
    col: int
    code: str
    message: str
    tier: Tier
    safety: Safety = Safety.SAFE
    fix: Fix | None = None
    models: frozenset[str] = frozenset()
    blocking: bool = True  # MANUAL only: False for code that never worked, which may stay
    held_by: Place | None = None
    blocks_with: Place | None = None

    @property
    def place(self) -> Place:
        """Where it is, and what it is about."""
        return Place(self.path, self.line, self.col, self.code)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.col} {self.code} {self.message}"
