"""Copies of projects to run programs in, and which files these wrote there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from fsdp_migrate.runtime.verify.recording import files_folder

Snapshot = Mapping[Path, tuple[int, int]]
PLACE = "<folder>"  # where they are put, below the output folder of the recording
_NOISE = {"__pycache__", ".git"}

LARGE = 32 << 20  # bytes from which on a file is linked instead of copied: data, weights
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".hg", "__pycache__", ".venv", "venv", "node_modules", ".tox", ".mypy_cache", "*.pyc"
)


def copy_project(project: Path, target: Path) -> None:
    """Copy a project; large files become links, which a program may read."""
    shutil.copytree(project, target, ignore=LEFT_OUT, copy_function=_copy, symlinks=True)


def snapshot(root: Path) -> Snapshot:
    """The files of a folder as they are now."""
    return {path.relative_to(root): _state(path) for path in _files(root)}


def collect(root: Path, before: Snapshot, recording: Path) -> None:
    """Move what is new, and copy what has changed, to the files of a recording."""
    place = files_folder(recording) / PLACE
    for path in list(_files(root)):
        name = path.relative_to(root)
        if name in before and before[name] == _state(path):
            continue
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in before:
            shutil.copy2(path, target)
        else:
            shutil.move(path, target)


def _files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        inside = path.relative_to(root).parts
        if path.is_file() and not path.is_symlink() and not _NOISE & set(inside):
            yield path


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _copy(source: str, target: str) -> None:
    if os.path.getsize(source) >= LARGE:
        os.symlink(os.path.abspath(source), target)
    else:
        shutil.copy2(source, target)
