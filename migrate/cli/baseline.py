"""A baseline: findings that a project knows of, so that only new ones are reported.

A finding is known by its file, its code and the text of its line: numbers of lines move.  The text
is hashed, so that a baseline is no file that names FSDP1.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import click

from fsdp_migrate.cli.request import Result
from fsdp_migrate.findings.finding import Finding

VERSION = 1
Key = tuple[str, str, str]  # file, code, hash of the line


def write(path: Path, result: Result) -> int:
    """Write what there is now; returns how many findings."""
    import json  # which few runs have a use for

    known = Counter(_key(item, path, result) for item in result.findings)
    rows = [
        {"path": file, "code": code, "line": line, "count": count}
        for (file, code, line), count in sorted(known.items())
    ]
    text = json.dumps({"version": VERSION, "findings": rows}, indent=1, ensure_ascii=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"--write-baseline {path}: {error.strerror}") from None
    return known.total()


def subtract(path: Path, result: Result) -> str:
    """Take what is known out of a result, and the files in which nothing else is found.

    Returns what is said of it.
    """
    known = _read(path)
    new = []
    for item in result.findings:
        key = _key(item, path, result)
        if known[key]:
            known[key] -= 1
        else:
            new.append(item)
    old = len(result.findings) - len(new)
    files = {item.path for item in new}
    if old:
        result.changes = {p: text for p, text in result.changes.items() if p in files}
    result.findings = new
    gone = sum(known.values())
    said = f"{old:,} known by the baseline {path}"
    return f"{said}; {gone:,} of it are gone: write it anew." if gone else f"{said}."


def _read(path: Path) -> Counter[Key]:
    import json  # which few runs have a use for

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            raise click.UsageError(f"the baseline {path} is of another version; write it anew.")
        return Counter(
            {(row["path"], row["code"], row["line"]): int(row["count"]) for row in data["findings"]}
        )
    except OSError as error:
        raise click.UsageError(f"cannot read the baseline {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise click.UsageError(f"{path} is no baseline of fsdp-migrate.") from None


def _key(item: Finding, baseline: Path, result: Result) -> Key:
    """What a finding is known by."""
    folder = os.path.dirname(os.path.abspath(baseline))
    file = os.path.relpath(os.path.abspath(item.path), folder).replace(os.sep, "/")
    lines = result.lines(item.path) or []
    line = lines[item.line - 1].strip() if 0 < item.line <= len(lines) else ""
    return file, item.code, hashlib.sha256(line.encode("utf-8", "replace")).hexdigest()[:16]
