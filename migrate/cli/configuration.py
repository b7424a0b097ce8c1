"""Settings in `[tool.fsdp-migrate]` of a `pyproject.toml`, and what the command line makes of them.

The nearest file that has the table counts, from the folder of what was given upwards.  What is said
on the command line comes before it, but for `exclude`: there both hold.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import click

from fsdp_migrate.discovery.folders import upwards
from fsdp_migrate.findings.options import RuntimeMode, StateDicts, Style
from fsdp_migrate.reporting.summary import Format

FILE = "pyproject.toml"
TABLE = "[tool.fsdp-migrate]"
_BOOL, _TEXT, _TEXTS = ("true or false",), ("a text",), ("a list of texts",)
# setting -> what it may be
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "allow-incomplete": _BOOL,
    "baseline": _TEXT,
    "exclude": _TEXTS,
    "ignore": _TEXTS,
    "mark": _BOOL,
    "output-format": get_args(Format),
    "respect-gitignore": _BOOL,
    "runtime": get_args(RuntimeMode),
    "safe-only": _BOOL,
    "select": _TEXTS,
    "state-dict": get_args(StateDicts),
    "style": get_args(Style),
}


class ConfigurationError(click.ClickException):
    """The settings of a project make no sense."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print what is wrong."""
        click.echo(f"fsdp-migrate: error: {self.message}", err=True)


@dataclass(frozen=True)
class Configuration:
    """The settings of a project, checked; without a file, none."""

    file: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def excluded(self) -> tuple[str, tuple[str, ...]]:
        """What is left out: the folder that the patterns are relative to, and the patterns."""
        folder = "" if self.file is None else os.path.dirname(os.path.abspath(self.file))
        return folder, tuple(self.settings.get("exclude", ()))


def find(paths: Sequence[str]) -> Configuration:
    """The configuration for what was given: the nearest one above all of it.

    Raises:
        ConfigurationError: it can't be read, or has a setting that there is not.
    """
    given = [os.path.abspath(path) for path in paths] or [os.getcwd()]
    top = os.path.commonpath(given)
    for folder in upwards(top if os.path.isdir(top) else os.path.dirname(top)):
        path = Path(os.path.relpath(os.path.join(folder, FILE)))
        table = _table(path)
        if table is not None:
            problems = list(_problems(table))
            if problems:
                raise ConfigurationError("\n".join(f"{path}: {each}" for each in problems))
            return Configuration(path, table)
    return Configuration()


def _table(path: Path) -> Mapping[str, Any] | None:
    """The settings in a file; None, if it has none."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if b"fsdp-migrate" not in data:
        return None
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        tool = toml.loads(data.decode("utf-8")).get("tool", {})
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    table = tool.get("fsdp-migrate") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise ConfigurationError(f"{path}: tool.fsdp-migrate has to be a table, {TABLE}")
    return table


def _problems(table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the settings."""
    for key, value in table.items():
        allowed = SETTINGS.get(key)
        if allowed is None:
            import difflib  # which few runs have a use for

            near = difflib.get_close_matches(key.replace("_", "-"), SETTINGS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(SETTINGS)}"
            yield f"{TABLE} has no setting `{key}`; {hint}"
        elif not _fits(value, allowed):
            words = (
                allowed[0] if allowed in (_BOOL, _TEXT, _TEXTS) else f"one of {', '.join(allowed)}"
            )
            yield f"`{key}` in {TABLE} has to be {words}, not {value!r}"


def _fits(value: Any, allowed: tuple[str, ...]) -> bool:
    if allowed is _BOOL:
        return isinstance(value, bool)
    if allowed is _TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return isinstance(value, str) and (allowed is _TEXT or value in allowed)


def merged(
    chosen: Mapping[str, Any], said: frozenset[str], configuration: Configuration
) -> dict[str, Any]:
    """The options of a run: those that were `said`, else those that are configured."""
    result = dict(chosen)
    for key, value in configuration.settings.items():
        name = key.replace("-", "_")
        if key == "respect-gitignore":
            name, value = "no_respect_gitignore", not value
        if key == "baseline":
            value = os.path.relpath(os.path.join(configuration.excluded[0], value))
        if key != "exclude" and name not in said:
            result[name] = tuple(value) if isinstance(value, list) else value
    return result


def shown(chosen: Mapping[str, Any], said: frozenset[str], configuration: Configuration) -> str:
    """The settings of a run as TOML, each with where it comes from if it isn't the default."""
    import json  # which few runs have a use for

    file = configuration.file
    lines = [
        f"# no {TABLE} in a {FILE} here or above"
        if file is None
        else f"# {TABLE} of {os.path.abspath(file)}"
    ]
    for key in SETTINGS:
        value: Any
        name = "no_respect_gitignore" if key == "respect-gitignore" else key.replace("-", "_")
        value = chosen[name] is False if key == "respect-gitignore" else chosen[name]
        sources = [FILE] if key in configuration.settings and name not in said else []
        sources += ["command line"] if name in said else []
        if key == "exclude":
            value = (*configuration.excluded[1], *value)
            sources = [FILE] * bool(configuration.excluded[1]) + ["command line"] * (name in said)
        if value is None:
            lines.append(f"# {key} is not set")
            continue
        text = json.dumps(list(value) if isinstance(value, tuple) else value)
        lines.append(f"{key} = {text}" + (f"  # {', '.join(sources)}" if sources else ""))
    return "\n".join(lines)
