"""Migrates a copy of a project, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class MigrationFailed(Exception):
    """The command that migrates the copy reported an error."""


@dataclass(frozen=True)
class Migrated:
    """What the migration of a copy did: findings as the command prints them, by relative path."""

    findings: list[dict[str, Any]] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[dict[str, Any]]:
        """The findings that are left to a person."""
        return [finding for finding in self.findings if finding["tier"] == "manual"]

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Where something was changed, as files and lines were before."""
        changed = [f for f in self.findings if f["tier"] in ("native", "shim")]
        return tuple(dict.fromkeys((f["path"], f["line"]) for f in changed))


def migrate_copy(copy: Path, options: Sequence[str] = ()) -> Migrated:
    """Migrate a copy in place, through the command line."""
    done = subprocess.run(
        [sys.executable, "-m", "fsdp_migrate", "--write", "--output-format", "json", *options, "."],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise MigrationFailed(done.stderr.strip() or f"exit code {done.returncode}")
    answer = json.loads(done.stdout)
    return Migrated(
        findings=[{**f, "path": _relative(copy, f["path"])} for f in answer["findings"]],
        changes=[_relative(copy, change) for change in answer["changes"]],
    )


def _relative(copy: Path, path: str) -> str:
    return os.path.relpath(copy / path, copy)
