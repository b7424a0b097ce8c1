"""What the project around a file says: the frameworks that it uses, and the programs it starts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

TRANSFORMERS, LIGHTNING, ACCELERATE, TORCH = "transformers", "lightning", "accelerate", "torch"
_PARSERS = (b"HfArgumentParser", b"TrainingArguments", b"TrlParser", b"SFTConfig")
_OWN_OPTION = re.compile(rb"[\"']--?fsdp[\"']")
_OF_TRANSFORMERS = re.compile(rb"\b(?:transformers|trl|setfit|sentence_transformers)\b")


def frameworks_in(data: bytes) -> set[str]:
    """The frameworks that a Python file may use, by its bytes."""
    found = set()
    if any(name in data for name in _PARSERS):
        found.add(TRANSFORMERS)
    if b"lightning" in data:
        found.add(LIGHTNING)
    if b"accelerate" in data:
        found.add(ACCELERATE)
    if b"FullyShardedDataParallel" in data and b"distributed" in data:
        found.add(TORCH)
    return found


def _nothing(name: str) -> bytes | None:
    return None


@dataclass(frozen=True)
class Around:
    """The project around a file.

    `frameworks` are those that its Python files use; `read` gives what is in a program that the
    file names, None if there is none; `chosen` says that the user named the file itself.
    """

    frameworks: frozenset[str] = frozenset()
    read: Callable[[str], bytes | None] = field(default=_nothing, compare=False)
    chosen: bool = False

    @property
    def for_transformers(self) -> bool:
        """Whether settings of FSDP without another sign of their owner are Transformers'."""
        return self.chosen or (TRANSFORMERS in self.frameworks and TORCH not in self.frameworks)

    @property
    def for_accelerate(self) -> bool:
        """The same of Accelerate."""
        return self.chosen or (ACCELERATE in self.frameworks and TORCH not in self.frameworks)

    def takes_trainers_options(self, program: str) -> bool | None:
        """Whether a program takes Transformers' options; None if it isn't known."""
        data = self.read(program)
        if data is None:
            return None
        return _OWN_OPTION.search(data) is None and _OF_TRANSFORMERS.search(data) is not None


ALONE = Around()
