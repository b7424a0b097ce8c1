"""`--mark`: a comment above each place that is left for a person."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.project import Project

PREFIX = "# TODO(fsdp-migrate):"


def mark_files(
    project: Project, changes: Mapping[Path, str], findings: Sequence[Finding]
) -> dict[Path, str]:
    """`changes`, and the comments in the files that don't change otherwise."""
    result = dict(changes)
    for module in project.modules.values():
        left = [item for item in findings if item.path == module.path and item.tier is Tier.MANUAL]
        if left and module.given and module.path not in changes:
            text = mark(module.source.text, left)
            if text != module.source.text:
                result[module.path] = text
    return result


def mark(text: str, findings: Iterable[Finding]) -> str:
    """`text` with a comment above the statement of every MANUAL finding, once each."""
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if "\r\n" in text else "\n"
    starts = _statement_starts(ast.parse(text))
    wanted: dict[int, dict[str, str]] = {}  # by line and code: a second run adds nothing
    for finding in findings:
        if finding.tier is Tier.MANUAL:
            line = max((start for start in starts if start <= finding.line), default=1)
            wanted.setdefault(line, {}).setdefault(
                f"{PREFIX} {finding.code}", f"{PREFIX} {finding.code} {finding.message}"
            )
    for line in sorted(wanted, reverse=True):
        target = lines[line - 1]
        indent = target[: len(target) - len(target.lstrip())]
        above = [comment.strip() for comment in _comments_above(lines, line)]
        notes = [
            note
            for start, note in wanted[line].items()
            if not any(comment.startswith(start) for comment in above)
        ]
        lines[line - 1 : line - 1] = [f"{indent}{note}{newline}" for note in notes]
    return "".join(lines)


def _statement_starts(tree: ast.Module) -> set[int]:
    """The lines on which a statement starts that has its line for itself."""
    starts: set[int] = set()
    for node in nodes_in(tree):
        if isinstance(node, ast.stmt):
            decorators = getattr(node, "decorator_list", [])
            starts.add(min([node.lineno, *(d.lineno for d in decorators)]))
    return starts


def _comments_above(lines: list[str], line: int) -> Iterable[str]:
    index = line - 2
    while index >= 0 and lines[index].lstrip().startswith("#"):
        yield lines[index]
        index -= 1
