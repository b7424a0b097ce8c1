"""JSON: Transformers' `fsdp_config`, training arguments, and Accelerate's configuration."""

from __future__ import annotations

from pathlib import Path

from fsdp_migrate.findings.finding import Finding
from fsdp_migrate.frameworks.config_files import documents
from fsdp_migrate.frameworks.config_files.json_tables import JsonError, read_json
from fsdp_migrate.frameworks.config_files.tables import apply

CODE = "FSDP612"


def convert_json(text: str, path: Path, *, trusted: bool = True) -> tuple[str, list[Finding]]:
    """The text with FSDP2's settings, and what there is to say about it."""
    try:
        found = read_json(text)
    except JsonError:
        return text, []  # no configuration that a program could read
    edits, findings = documents.convert(found, path, CODE, trusted=trusted)
    return apply(text, edits), findings
