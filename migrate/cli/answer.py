"""What a run prints, where it belongs, and the exit code that sums it up."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import click

from fsdp_migrate.cli.request import Request, Result
from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.reporting import summary as report
from fsdp_migrate.reporting.diff import unified_diff
from fsdp_migrate.syntax.source import SourceError

DONE, LEFT, FAILED, INTERRUPTED = 0, 1, 2, 130


def print_answer(result: Result, request: Request) -> None:
    """Print findings, the diff, errors and the summary, each where it belongs."""
    to_stderr = request.diff or (request.prints_program and not request.pending)
    click.echo(_findings(result, request, to_stderr), nl=False, err=to_stderr)
    if request.diff:
        for path, text in sorted(result.changes.items()):
            click.echo(unified_diff(result.source(path), text), nl=False)
    for warning in result.warnings:
        say(f"warning: {warning}")
    if request.output_format in {*report.FOR_PEOPLE, "github"}:
        for error in result.errors:
            say(f"error: {error}")
    if not request.quiet:
        for line in _summary(result, request):
            click.echo(line, err=True)
    sys.stdout.flush()


def _findings(result: Result, request: Request, to_stderr: bool) -> str:
    """The findings in the format asked for; on a terminal, with what they are about."""
    style, stream = request.output_format, sys.stderr if to_stderr else sys.stdout
    if style == "full" or (style == "text" and _is_terminal(stream)):
        from fsdp_migrate.reporting.excerpts import Terminal, with_excerpts

        colour = _is_terminal(stream) and not os.environ.get("NO_COLOR")
        terminal = Terminal(shutil.get_terminal_size((100, 24)).columns, colour)
        shown = with_excerpts(report.entries(result.findings), result.lines, terminal)
        return "".join(f"{line}\n" for line in shown)
    piped = next(iter(result.changes.values()), None) if request.piped else None
    left = [*result.silenced, *(result.ruled_out if style == "json" else ())]
    return report.render(
        style, result.findings, result.changes, result.errors, left, piped, result.lines
    )


def write_page(result: Result, request: Request, name: str) -> None:
    """Write a page about the migration."""
    from fsdp_migrate.reporting.html_page import to_html
    from fsdp_migrate.reporting.markdown_page import to_markdown
    from fsdp_migrate.reporting.pages import report_of

    names = [os.path.basename(os.path.abspath(path)) for path in request.paths or (".",)]
    where = ", ".join(names)
    page = report_of(f"{where}: from FSDP1 to FSDP2", result.findings, result.changes, result.lines)
    text = to_html(page) if name.endswith(".html") else to_markdown(page)
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        result.errors.append(SourceError(Path(name), f"cannot write: {error.strerror}"))


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def _summary(result: Result, request: Request) -> Iterable[str]:
    if result.known and not result.findings and not result.errors:
        return [f"Nothing new; {result.known}"]
    if not result.findings and not result.changes and not result.errors:
        return [report.nothing(result.found, result.silenced, result.ruled_out)]
    lines = [report.counts(result.findings)] if result.findings else []
    lines += [line for line in [report.blocks(result.findings)] if line]
    lines += [f"Not reported: {result.known}"] if result.known else []
    lines += report.left(result.silenced, result.ruled_out)
    if request.check or request.piped:
        return lines
    if request.write and result.changes and not result.written:
        return [*lines, "No file was changed."]
    steps = report.next_steps(
        result.findings, result.changes, result.written, request.said, result.undo
    )
    if result.wanted is not None and len(result.wanted) < len(result.changes):
        steps.append(
            f"Left as they are, by your choice: {len(result.changes) - len(result.wanted)}."
        )
    return [*lines, *steps]


def exit_code(result: Result) -> int:
    """Whether all is done, something is left to do, or something went wrong."""
    if result.errors:
        return FAILED
    pending = set(result.changes) - set(result.written)
    manual = any(finding.tier is Tier.MANUAL for finding in result.findings)
    return LEFT if pending or manual else DONE


def say(message: str) -> None:
    """Print a message of the program about itself."""
    click.echo(f"fsdp-migrate: {message}", err=True)
