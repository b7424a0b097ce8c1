"""Ask about the changes of a run, part by part, before they are made.

A part is what has to change together: files that share a model, that one fix edits, or of which
one imports the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from fsdp_migrate.cli.request import Result
from fsdp_migrate.discovery.import_graph import Graph
from fsdp_migrate.reporting import summary as report
from fsdp_migrate.reporting.diff import unified_diff
from fsdp_migrate.syntax.printable import printable

_ANSWERS = click.Choice(["y", "n", "e", "q"])


def choose(result: Result) -> frozenset[Path]:
    """The files that the user wants to have changed."""
    wanted: set[Path] = set()
    parts = parts_of(result)
    for number, part in enumerate(parts, 1):
        findings = [item for item in result.findings if item.path in part]
        click.echo(f"\nPart {number} of {len(parts)}: {printable(', '.join(map(str, part)))}")
        for line, _ in report.entries(findings):
            click.echo(line)
        for path in part:
            click.echo(unified_diff(result.source(path), result.changes[path]), nl=False)
        try:
            answer = _ask({item.code for item in findings})
        except click.Abort:
            return frozenset()
        if answer == "q":
            break
        wanted.update(part if answer == "y" else ())
    return frozenset(wanted)


def _ask(codes: Iterable[str]) -> str:
    question = "Make these changes? (y)es, (n)o, (e)xplain, (q)uit and make those so far"
    while True:
        answer: str = click.prompt(question, type=_ANSWERS, show_choices=False)
        if answer != "e":
            return answer
        from fsdp_migrate.cli.explain import page_of

        click.echo("\n\n".join(page_of(code) for code in sorted(codes)))


def parts_of(result: Result) -> list[tuple[Path, ...]]:
    """The files that change, those together that belong together."""
    groups: dict[Path, set[Path]] = {path: {path} for path in result.changes}

    def join(paths: Iterable[Path]) -> None:
        known = [path for path in paths if path in groups]
        together = set().union(*(groups[path] for path in known)) if known else set()
        for path in together:
            groups[path] = together

    models: dict[str, set[Path]] = {}
    for item in result.findings:
        join({item.path, *(item.fix.edits if item.fix is not None else ())})
        for model in item.models:
            models.setdefault(model, set()).add(item.path)
    for paths in (*models.values(), *_imports(result)):
        join(paths)
    return sorted({tuple(sorted(group)) for group in groups.values()})


def _imports(result: Result) -> Iterable[set[Path]]:
    """Each Python file that changes, with those that it imports; new files, with all."""
    found = result.found
    data = {
        os.path.abspath(file.path): file.data
        for file in (*found.candidates, *found.linked, *found.context)
    }
    changed = {os.path.abspath(path): path for path in result.changes}
    others = {file.path for file in found.configs}
    graph = Graph(data, lambda path: data.get(path, b""))
    for absolute, path in changed.items():
        if absolute in data:
            reached = graph.imported({absolute})
            yield {path, *(other for at, other in changed.items() if at in reached)}
        elif path not in others:
            yield set(changed.values())
