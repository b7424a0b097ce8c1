"""The two versions of a program that `verify` compares, each in a copy of the project."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fsdp_migrate.cli.project_copy import Migrated, MigrationFailed, migrate_copy

if TYPE_CHECKING:
    from fsdp_migrate.runtime.verify.launch import Program

FAILED = 2  # the exit code


class CannotVerify(click.ClickException):
    """There is nothing that could be compared."""

    exit_code = FAILED


@dataclass(frozen=True)
class Wanted:
    """What the user asked to compare."""

    target: str  # a script, or a module where `module` says so
    module: bool
    arguments: tuple[str, ...]
    project: Path | None  # None: the current folder
    new: Path | None  # a folder or a script; None: the old version, migrated
    options: tuple[str, ...] = ()  # of the migration

    @property
    def script(self) -> Path | None:
        """The script of the old version; None for a module."""
        if self.module:
            return None
        script = Path(self.target).resolve()
        if not script.is_file():
            raise CannotVerify(f"there is no script {self.target}")
        return script


@dataclass(frozen=True)
class Sides:
    """Both versions in their copies."""

    old: Program
    new: Program
    migrated: Migrated | None
    project: Path


def prepare(work: Path, wanted: Wanted) -> Sides:
    """Copy both versions, and migrate the second one unless there is one already."""
    from fsdp_migrate.runtime.verify.scratch import copy_project  # loads torch

    script = wanted.script
    project = _project(wanted, script)
    if project in (work, *work.parents):
        raise CannotVerify(f"{work} is inside the project: choose another folder for --keep")
    given = wanted.new.resolve() if wanted.new is not None else None
    for name in ("old", "new"):
        shutil.rmtree(work / name, ignore_errors=True)
    copy_project(project, work / "old")
    copy_project(given if given is not None and given.is_dir() else project, work / "new")
    migrated = None if given is not None else _migrate(work / "new", wanted.options)
    old_script = script.relative_to(project) if script is not None else None
    new_script = _new_script(script, given, project) or old_script
    watched = migrated.places if migrated is not None else ()
    old = _program(work / "old", old_script, project, wanted, watched)
    new = _program(work / "new", new_script, project, wanted)
    if script is not None and not Path(new.target).is_file():
        raise CannotVerify(f"{given} has no script {old_script}")
    return Sides(old, new, migrated, project)


def _project(wanted: Wanted, script: Path | None) -> Path:
    """The folder to copy: the one that was given, or that of a script that is not in it."""
    project = (wanted.project or Path.cwd()).resolve()
    return script.parent if script is not None and project not in script.parents else project


def _program(
    root: Path,
    script: Path | None,
    project: Path,
    wanted: Wanted,
    watched: tuple[tuple[str, int], ...] = (),
) -> Program:
    """A version in the copy `root`, started in the folder that the user stands in."""
    from fsdp_migrate.runtime.verify.launch import Program  # loads torch

    here = Path.cwd()
    folder = here.relative_to(project) if project in (here, *here.parents) else Path()
    target = str(root / script) if script is not None else wanted.target
    return Program(root / folder, target, wanted.arguments, wanted.module, root, True, watched)


def _new_script(script: Path | None, given: Path | None, project: Path) -> Path | None:
    """The script of the new version, where it is another file of the same project."""
    if given is None or given.is_dir():
        return None
    if script is None:
        raise CannotVerify("--new has to be a folder for a module")
    if project not in given.parents:
        raise CannotVerify(f"{given} is not in {project}: give the folder of the new version")
    return given.relative_to(project)


def _migrate(copy: Path, options: Sequence[str]) -> Migrated:
    try:
        migrated = migrate_copy(copy, options)
    except MigrationFailed as error:
        raise CannotVerify(f"the migration failed: {error}") from error
    for finding in migrated.left:
        place = f"{finding['path']}:{finding['line']}"
        click.echo(f"left to you: {place} {finding['code']} {finding['message']}", err=True)
    if not migrated.changes:
        why = "all of it is left to you, see above" if migrated.left else "no use of FSDP1 is found"
        raise CannotVerify(
            f"the migration changes nothing ({why}): there are no two versions to compare; "
            "--new names a version that you have written yourself"
        )
    return migrated
