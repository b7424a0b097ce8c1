"""Findings for programs to read: JSON, GitHub's workflow commands, SARIF."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fsdp_migrate import __version__
from fsdp_migrate.findings.finding import Finding, Place, Safety, Tier
from fsdp_migrate.reporting.excerpts import Lines, marked_length
from fsdp_migrate.syntax.source import SourceError

if TYPE_CHECKING:
    from fsdp_migrate.rule.rule import Rule

SCHEMA = 1  # of the JSON; grows when something is taken away, or changes its meaning
_LEVELS = {Tier.NATIVE: "warning", Tier.SHIM: "warning", Tier.MANUAL: "error", Tier.NOTE: "notice"}
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def to_json(
    findings: Sequence[Finding],
    changes: Mapping[Path, str],
    errors: Sequence[SourceError],
    suppressed: Sequence[Finding] = (),
    piped: str | None = None,
) -> str:
    """One object: `findings`, the files that `changes`, `errors`, and how many of each tier.

    For standard input, `text` is what it becomes.  `docs/schema/report.json` describes it.
    """
    tiers = Counter(finding.tier for finding in findings)
    return _dump(
        {
            "schema": SCHEMA,
            "version": __version__,
            "findings": [_plain(finding) for finding in findings],
            "changes": [path.as_posix() for path in sorted(changes)],
            "errors": [{"path": e.path.as_posix(), "message": e.message} for e in errors],
            "suppressed": [_where(item.place) for item in suppressed],
            "summary": {tier.value: tiers[tier] for tier in Tier},
            **({} if piped is None else {"text": piped}),
        }
    )


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "path": finding.path.as_posix(),
        "line": finding.line,
        "col": finding.col,
        "code": finding.code,
        "message": finding.message,
        "tier": finding.tier.value,
        "safety": finding.safety.value,
        "held_back_by": None if finding.held_by is None else _where(finding.held_by),
    }


def _where(place: Place) -> dict[str, Any]:
    return {
        "path": place.path.as_posix(),
        "line": place.line,
        "col": place.col,
        "code": place.code,
    }


def to_github(findings: Sequence[Finding], errors: Sequence[SourceError]) -> str:
    """A workflow command for each finding: GitHub shows them beside the lines of a change."""
    lines = []
    blocked = Counter(each.held_by for each in findings)
    for each in findings:
        others = blocked[each.place] if each.held_by is None else 0
        said = f"; blocks {others:,} other{'s' * (others != 1)}" if others else ""
        said += "; blocks the same" if each.blocks_with in blocked and each.blocks_with else ""
        mark = "[unsafe] " if each.safety is Safety.UNSAFE else ""
        message = _escape(f"{mark}{each.message}{said}")
        properties = {
            "title": f"fsdp-migrate {each.code}",
            "file": each.path.as_posix(),
            "line": str(each.line),
            "col": str(each.col),
        }
        where = ",".join(f"{key}={_escape(value, ':,')}" for key, value in properties.items())
        lines.append(f"::{_LEVELS[each.tier]} {where}::{message}\n")
    for error in errors:
        where = _escape(error.path.as_posix(), ":,")
        lines.append(f"::error title=fsdp-migrate,file={where}::{_escape(error.message)}\n")
    return "".join(lines)


def _escape(text: str, special: str = "") -> str:
    for char in "%\r\n" + special:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def to_sarif(
    findings: Sequence[Finding],
    errors: Sequence[SourceError],
    rules: Iterable[Rule],
    suppressed: Sequence[Finding] = (),
    lines: Lines = lambda path: None,
) -> str:
    """A SARIF 2.1.0 log; `lines` are those of a file, for the ends of places."""
    codes = {finding.code for finding in (*findings, *suppressed)}
    driver = {
        "name": "fsdp-migrate",
        "version": __version__,
        "rules": [_sarif_rule(rule) for rule in rules if rule.code in codes],
    }
    invocation = {
        "executionSuccessful": not errors,
        "toolExecutionNotifications": [
            {"level": "error", "message": {"text": str(error)}} for error in errors
        ],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": [
            *(_sarif_result(finding, lines) for finding in findings),
            *(
                {**_sarif_result(finding, lines), "suppressions": [{"kind": "inSource"}]}
                for finding in suppressed
            ),
        ],
    }
    return _dump({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]})


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why}\n\nSafety of the fix: {rule.fix_safety}"},
        **({"helpUri": rule.references[0]} if rule.references else {}),
    }


def _sarif_result(finding: Finding, lines: Lines) -> dict[str, Any]:
    region = {"startLine": finding.line, "startColumn": finding.col}
    length = marked_length(lines(finding.path), finding)
    if length:
        region |= {"endLine": finding.line, "endColumn": finding.col + length}
    level = _LEVELS[finding.tier]
    return {
        "ruleId": finding.code,
        "level": "note" if level == "notice" else level,
        "message": {"text": finding.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(finding.path)},
                    "region": region,
                }
            }
        ],
        "properties": {"tier": finding.tier.value, "safety": finding.safety.value},
    }


def _uri(path: Path) -> str:
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
