"""The files of a run that are no Python: configurations are migrated, all else is listed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fsdp_migrate.cli.request import Request, Result
from fsdp_migrate.discovery.tree import File
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.frameworks.config_files import convert, is_config
from fsdp_migrate.frameworks.outside import NOTEBOOK, STUB
from fsdp_migrate.frameworks.outside.around import Around
from fsdp_migrate.frameworks.outside.class_paths import makes_models
from fsdp_migrate.syntax.source import Source, SourceError, decode_plain, regular

_UPWARDS = 6  # folders above a script in which the programs that it names are looked for


def configure(result: Result, request: Request) -> None:
    """Migrate the configuration files, each on its own, and list what stands in the others."""
    if not result.found.configs:
        return
    findings, changes = list(result.findings), dict(result.changes)
    for file in result.found.configs:
        around = _around(file, result, request)
        source = _source(file, result)
        if source is None:
            continue
        if is_config(file.path.name):
            text, said = convert(source, trusted=_is_trusted(source, around))
            result.sources[source.path] = source
            findings += said
            if text != source.text:
                changes[source.path] = text
        findings += _listed(source, around, request)
    findings = _held_back(findings, changes)
    rules_out = request.options.rules_out
    unwanted = [item for item in findings if rules_out(item.code)]
    for path in {item.path for item in unwanted if is_config(item.path.name)}:
        changes.pop(path, None)
    if request.safe_only:
        risky = {item.path for item in findings if item.safety is Safety.UNSAFE}
        for path in {path for path in risky if is_config(path.name)} & changes.keys():
            del changes[path]
            findings = [_left(item) if item.path == path else item for item in findings]
    result.ruled_out = [*result.ruled_out, *unwanted]
    findings = [item for item in findings if not rules_out(item.code)]
    result.findings = sorted(findings, key=lambda item: (item.path, item.line, item.col, item.code))
    result.changes = changes


def _left(item: Finding) -> Finding:
    """A finding about a configuration that stays as it is, for something in it is unsafe."""
    if item.tier is Tier.MANUAL:
        return item
    why = "left: something in this file can change the outcome of a run (--safe-only)"
    return replace(item, tier=Tier.MANUAL, message=f"{item.message}; {why}")


def _held_back(findings: list[Finding], changes: dict[Path, str]) -> list[Finding]:
    """Leave files alone that are about models which only a configuration is known to make.

    Their names would become FSDP2's, and what the configuration makes is still FSDP1's.
    """
    made = next((item for item in findings if makes_models(item)), None)
    fixed = {item.path for item in findings if item.fix is not None}
    known = {item.path for item in findings if item.models}
    left = {path for path in fixed - known if path in changes} if made is not None else set()
    for path in left:
        del changes[path]
    return [
        replace(
            item,
            tier=Tier.MANUAL,
            fix=None,
            message=f"{item.message}; held back by {made.code} at {made.path}:{made.line}",
            held_by=made.place,
        )
        if made is not None and item.path in left and item.fix is not None
        else item
        for item in findings
    ]


def _source(file: File, result: Result) -> Source | None:
    """The text of a file; what is only listed is read whatever its encoding."""
    if not is_config(file.path.name):
        return Source(file.path, file.data.decode("utf-8", "replace"))
    try:
        return decode_plain(file.path, file.data)
    except SourceError as error:
        result.errors.append(error)
        return None


def _listed(source: Source, around: Around, request: Request) -> Iterator[Finding]:
    if source.path.suffix == NOTEBOOK:
        from fsdp_migrate.cli.notebook import notebook_findings

        yield from notebook_findings(source, around, request.options)
        return
    if source.path.suffix == STUB:
        from fsdp_migrate.frameworks.outside import stubs

        yield from stubs.listed(source)
        return
    from fsdp_migrate.frameworks.outside.listing import listed

    yield from listed(source, around)


def _around(file: File, result: Result, request: Request) -> Around:
    """The project around a file."""
    chosen = request.piped or any(Path(path) == file.path for path in request.paths)
    frameworks = result.found.frameworks
    return Around(frameworks, lambda name: _program(file.path, name), chosen)


def _is_trusted(source: Source, around: Around) -> bool:
    kinds = around.for_accelerate if "distributed_type" in source.text else around.for_transformers
    return kinds


def _program(script: Path, name: str) -> bytes | None:
    """What is in a program that a script names: looked for beside it, and in folders above."""
    if name.startswith("/") or "$" in name:
        return None
    path = name if name.endswith(".py") else f"{name.replace('.', os.sep)}.py"
    folder = Path(os.path.abspath(script)).parent
    for above in (folder, *folder.parents[:_UPWARDS]):
        try:
            return regular(above / path)
        except (OSError, ValueError):
            continue
    return None
