"""What a notebook says of FSDP1: its cells are read as a program, and nothing is rewritten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from fsdp_migrate.discovery.discover import uses_fsdp1
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.findings.options import Options
from fsdp_migrate.frameworks.outside.around import Around
from fsdp_migrate.frameworks.outside.listing import listed
from fsdp_migrate.frameworks.outside.notebooks import Notebook, NotebookError, read_notebook
from fsdp_migrate.syntax.source import Source

CODE = "FSDP620"
_HELD_BACK = re.compile(r"; held back by .*", re.DOTALL)
_UNREAD = "this cell names FSDP1 and can't be read as Python; migrate it by hand"


def notebook_findings(source: Source, around: Around, options: Options) -> Iterator[Finding]:
    """The places in a notebook that FSDP1 stands in, by the lines of its file."""
    try:
        notebook = read_notebook(source.text)
    except NotebookError:
        message = "FSDP1 is named here, but this can't be read as a notebook"
        yield Finding(source.path, 1, 1, CODE, message, Tier.MANUAL)
        return
    yield from _of_program(source, notebook, options)
    for number, line in notebook.unread:
        if uses_fsdp1(line.encode("utf-8", "replace")):
            yield Finding(source.path, number, 1, CODE, _UNREAD, Tier.MANUAL)
    lines = [line for _, line in notebook.shell]
    for item in listed(Source(source.path, "\n".join(lines)), around):
        yield replace(item, line=notebook.shell[item.line - 1][0], col=1)


def _of_program(source: Source, notebook: Notebook, options: Options) -> Iterator[Finding]:
    """What the rules say of the code cells."""
    if not uses_fsdp1(notebook.program.encode("utf-8", "replace")):
        return
    from fsdp_migrate.engine import migrate

    for item in migrate([Source(source.path, notebook.program)], options).findings:
        tier = Tier.NOTE if item.tier is Tier.NOTE else Tier.MANUAL
        message = f"{_HELD_BACK.sub('', item.message)} ({item.code}; cells are left to you)"
        line = notebook.line(item.line)
        yield Finding(source.path, line, 1, CODE, message, tier, Safety.SAFE)
