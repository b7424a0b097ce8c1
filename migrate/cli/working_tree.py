"""What git knows of the files that a run is about to change, and how to take changes back."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SHOWN = 10  # files by name in a command
_PLAIN = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")  # a repository starts nothing


@dataclass(frozen=True)
class WorkingTree:
    """A working tree as it is before a run writes to it."""

    dirty: tuple[Path, ...]  # of the files: changed and not committed
    untracked: tuple[Path, ...]  # of the files: git doesn't have them
    is_clean: bool  # nothing in the tree is changed

    def undo(self, written: Sequence[Path]) -> str | None:
        """The command that takes back what was written; None, if git can't."""
        known = [path for path in written if path not in self.untracked]
        if not known or set(known) & set(self.dirty):
            return None
        if len(known) <= _SHOWN:
            return shlex.join(["git", "restore", "--", *map(str, known)])
        return "git restore -- ." if self.is_clean else None


def working_tree(files: Sequence[Path]) -> WorkingTree | None:
    """What git says of files below the working folder; None, if they aren't in one tree."""
    here = os.path.realpath(os.getcwd())
    places = {os.path.relpath(os.path.realpath(path), here): path for path in files}
    if not files or any(place.startswith(os.pardir) for place in places):
        return None
    tracked = _git("ls-files", "-z", "--", *places)
    changed = _git("diff", "--no-ext-diff", "--name-only", "--relative", "-z", "HEAD")
    others = _git("status", "--porcelain", "--untracked-files=no", "-z")
    if tracked is None or changed is None or others is None:
        return None
    return WorkingTree(
        tuple(path for place, path in places.items() if place in changed),
        tuple(path for place, path in places.items() if place not in tracked),
        not others,
    )


def _git(*command: str) -> set[str] | None:
    """The names that a command of git prints; None, if it fails."""
    try:
        done = subprocess.run(
            ["git", *_PLAIN, *command], capture_output=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    return {name for name in names if name} if done.returncode == 0 else None
