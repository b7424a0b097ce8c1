"""What a recording was asked for; travels to child processes in the environment."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

VARIABLE = "FSDP_MIGRATE_RECORD"
Device = Literal["cpu", "cuda", "auto"]
BUDGET = 64 << 20  # bytes of full tensors that a rank keeps unless it is told which


@dataclass(frozen=True)
class Settings:
    """The options of a recording.

    `keep` names the optimizer steps whose full tensors are kept, first and last; None keeps
    them from the first step on until `budget` bytes are used up.
    """

    out: Path
    device: Device = "auto"
    deterministic: bool = False
    keep: tuple[int, int] | None = None
    budget: int = BUDGET
    gpus: int | None = None  # what torch.cuda.device_count() says in a rehearsal
    seed: int | None = None  # for programs that do not seed; every rank gets one of its own
    paths: tuple[Path, ...] = ()  # where modules are looked for, after the program's own folder
    forbidden: Path | None = None  # nothing may be imported from below this folder
    watched: Path | None = None  # a file that says of which lines to note down that they are run
    dump_at: float | None = None  # the time at which a rank that still runs says where it is

    def export(self) -> None:
        """Tell the processes that this one starts."""
        os.environ[VARIABLE] = json.dumps(asdict(self), default=str)

    @classmethod
    def inherited(cls) -> Settings:
        """What the parent process was asked for."""
        data = json.loads(os.environ[VARIABLE])
        keep, forbidden = data["keep"], data["forbidden"]
        data["out"] = Path(data["out"])
        data["paths"] = tuple(map(Path, data["paths"]))
        data["keep"] = tuple(keep) if keep else None
        data["watched"] = Path(data["watched"]) if data["watched"] else None
        data["forbidden"] = Path(forbidden) if forbidden else None
        return cls(**data)


def steps(text: str) -> tuple[int, int]:
    """The first and the last one of `7`, `3-9` or `all`."""
    if text == "all":
        return 0, sys.maxsize
    first, _, last = text.partition("-")
    return int(first), int(last or first)
