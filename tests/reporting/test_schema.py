"""The JSON is as its schema says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import readme
from fsdp_migrate.findings.finding import Finding, Place, Safety, Tier
from fsdp_migrate.reporting.formats import SCHEMA, to_json
from fsdp_migrate.syntax.source import SourceError

FILE = readme.ROOT / "docs" / "schema" / "report.json"
WHOLE = json.loads(FILE.read_text())
KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "null": type(None),
}


def problems(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """What is wrong with a value, by the words that our schema uses; all keys have to be known."""
    if "$ref" in schema:
        return problems(value, WHOLE["$defs"][schema["$ref"].rpartition("/")[2]], where)
    if "oneOf" in schema:
        return [] if any(not problems(value, s) for s in schema["oneOf"]) else [f"{where}: none"]
    if "type" in schema and not isinstance(value, KINDS[schema["type"]]):
        return [f"{where}: no {schema['type']}"]
    found = [
        f"{where}: {value!r} isn't allowed"
        for fits in (
            value == schema.get("const", value),
            value in schema.get("enum", [value]),
            not isinstance(value, int) or value >= schema.get("minimum", value),
            not isinstance(value, str) or re.search(schema.get("pattern", ""), value),
        )
        if not fits
    ]
    if isinstance(value, list):
        for number, item in enumerate(value):
            found += problems(item, schema["items"], f"{where}[{number}]")
    if isinstance(value, dict):
        found += [f"{where}: {key} is missing" for key in schema["required"] if key not in value]
        for key, item in value.items():
            known = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            found += (
                problems(item, known, f"{where}.{key}") if known else [f"{where}: what's {key}?"]
            )
    return found


FOUND = Finding(Path("a.py"), 3, 5, "FSDP101", "why", Tier.NATIVE, Safety.UNSAFE)
HELD = replace(FOUND, tier=Tier.MANUAL, held_by=Place(Path("b.py"), 1, 1, "FSDP406"))
ERROR = SourceError(Path("e.py"), "cannot be read")


@pytest.mark.parametrize(
    "printed",
    [
        to_json([], {}, []),
        to_json([FOUND, HELD], {Path("a.py"): "x"}, [ERROR], [FOUND]),
        to_json([FOUND], {Path("<stdin>"): "x"}, [], piped="x"),
    ],
)
def test_what_is_printed_is_as_the_schema_says(printed: str) -> None:
    assert problems(json.loads(printed), WHOLE) == []


def test_the_schema_is_no_empty_promise() -> None:
    report = json.loads(to_json([FOUND], {}, []))
    for key, value in (("tier", "fine"), ("line", 0), ("code", "X1"), ("path", None), ("new", 1)):
        assert problems({**report, "findings": [{**report["findings"][0], key: value}]}, WHOLE)
    assert problems({k: v for k, v in report.items() if k != "version"}, WHOLE)
    assert WHOLE["properties"]["schema"]["const"] == SCHEMA
