"""What the user chose, for the engine and the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RuntimeMode = Literal["import", "never"]


@dataclass(frozen=True)
class Options:
    """The choices that change what is emitted."""

    runtime: RuntimeMode = "import"
    mark: bool = False  # put a TODO comment above what is left for a person
