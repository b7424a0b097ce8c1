"""YAML: Accelerate's configuration, and files of training arguments for Transformers."""

from __future__ import annotations

from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks.config_files import documents
from fsdp_migrate.frameworks.config_files.tables import Edit, apply, place
from fsdp_migrate.frameworks.config_files.yaml_tables import YamlError, read_yaml

CODE = "FSDP611"


def convert_yaml(text: str, path: Path, *, trusted: bool = True) -> tuple[str, list[Finding]]:
    """The text with FSDP2's settings, and what there is to say about it."""
    try:
        found = read_yaml(text)
    except YamlError as error:
        if "distributed_type: FSDP" not in text:
            return text, []
        line, col = place(text, error.at)
        message = f"FSDP1 is configured here, but this can't be read as YAML ({error})"
        return text, [Finding(path, line, col, CODE, message, Tier.MANUAL)]
    edits: list[Edit] = []
    findings: list[Finding] = []
    for document in found:
        some, said = documents.convert(document, path, CODE, trusted=trusted)
        edits += some
        findings += said
    return apply(text, edits), findings
