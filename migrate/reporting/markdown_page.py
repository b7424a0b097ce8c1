"""The report of a migration in Markdown: for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fsdp_migrate.findings.finding import Finding, Safety
from fsdp_migrate.reporting.pages import FilePage, Report
from fsdp_migrate.syntax.printable import printable

_SPECIAL = re.compile(r"([\\*\[\]<>|#~]|(?<!\w)_|_(?!\w))")


def to_markdown(report: Report) -> str:
    """The page."""
    return "\n\n".join(_parts(report)) + "\n"


def _parts(report: Report) -> Iterator[str]:
    yield f"# {_text(report.title)}"
    names, numbers = zip(*report.counts, strict=True)
    row = " | ".join(map(str, numbers))
    yield f"| {' | '.join(names)} |\n|{' ---: |' * len(names)}\n| {row} |"
    if report.tasks:
        yield "## Left to do"
        for task in report.tasks:
            said = [f"- [ ] {_said(task.finding, with_path=True)}"]
            said += [f"  - waits for it: {_said(item, with_path=True)}" for item in task.waiting]
            yield "\n".join(said)
    for page in report.files:
        yield from _file(page)


def _file(page: FilePage) -> Iterator[str]:
    yield f"## {_text(str(page.path))}"
    for hunk in page.hunks:
        if hunk.findings:
            yield "\n".join(f"- {_said(item)}" for item in hunk.findings)
        body = "\n".join(f"{sign}{printable(line)}" for sign, line in hunk.lines)
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", body)), 3)
        yield f"{fence}diff\n@@ {hunk.heading} @@\n{body}\n{fence}"
    if page.others:
        yield "Without a change:" if page.hunks else "Nothing changes here."
        yield "\n".join(f"- {_said(item)}" for item in page.others)


def _said(item: Finding, *, with_path: bool = False) -> str:
    where = f"{item.path}:{item.line}" if with_path else f"line {item.line}"
    unsafe = ", **unsafe**" if item.safety is Safety.UNSAFE else ""
    message = _text(" ".join(item.message.split()))
    return f"{_text(where)}: **{item.code}** ({item.tier.value}{unsafe}) {message}"


def _text(text: str) -> str:
    """A text with nothing in it that Markdown would obey, but for code between backquotes."""
    parts = printable(text).split("`")
    if len(parts) % 2 == 0:
        return _SPECIAL.sub(r"\\\1", printable(text)).replace("`", "\\`")
    return "`".join(
        part if number % 2 else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts)
    )
