"""All that a file which is no Python says of FSDP1 and no rule rewrites."""

from __future__ import annotations

from fsdp_migrate.findings.finding import Finding
from fsdp_migrate.frameworks.outside import class_paths, launch_flags, lightning_words
from fsdp_migrate.frameworks.outside.around import Around
from fsdp_migrate.frameworks.outside.commands import without_comments
from fsdp_migrate.syntax.source import Source


def listed(source: Source, around: Around) -> list[Finding]:
    """The places of a script or a configuration, each with what to write there."""
    lines = without_comments(source.text, json=source.path.suffix == ".json")
    return [
        *class_paths.listed(lines, source.path),
        *launch_flags.listed(lines, source.path, around),
        *lightning_words.listed(lines, source.path, around),
    ]
