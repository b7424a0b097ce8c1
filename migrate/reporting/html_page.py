"""The report of a migration as one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape

from fsdp_migrate.findings.finding import Finding, Safety
from fsdp_migrate.reporting.pages import FilePage, Hunk, Report
from fsdp_migrate.syntax.printable import printable

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
_SIGNS = {" ": "same", "-": "old", "+": "new"}
_CODE = re.compile(r"`([^`]+)`")
CSS = """\
:root { color-scheme: light dark; --back: #fff; --text: #1c2128; --dim: #59636e; --line: #d1d9e0;
  --old: #ffebe9; --new: #dafbe1; --accent: #0a58ca; --warn: #9a4a00; }
@media (prefers-color-scheme: dark) {
  :root { --back: #0f1419; --text: #e6e9ec; --dim: #9aa4af; --line: #333c46; --old: #4a1d1f;
    --new: #12391f; --accent: #7db4ff; --warn: #ffb86b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
code, pre { font: 0.85rem/1.45 ui-monospace, monospace; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
a { color: var(--accent); }
dl { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; margin: 0; }
dl div { min-width: 5rem; } dt { color: var(--dim); font-size: 0.85rem; }
dd { margin: 0; font-size: 1.4rem; }
details { border: 1px solid var(--line); border-radius: 6px; margin: 0.75rem 0; }
summary { cursor: pointer; padding: 0.5rem 0.75rem; font-weight: 600; }
details > :not(summary) { margin: 0.5rem 0.75rem; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: 0; }
pre span { display: block; width: max-content; min-width: 100%; padding: 0 0.75rem; }
.old { background: var(--old); } .new { background: var(--new); } .head { color: var(--dim); }
.unsafe { color: var(--warn); font-weight: 600; } .dim { color: var(--dim); }
ul { padding-left: 1.25rem; } .tasks { list-style: "\\2610\\00a0"; }
"""


def to_html(report: Report) -> str:
    """The page."""
    counts = "".join(f"<div><dt>{name}</dt><dd>{n:,}</dd></div>" for name, n in report.counts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(report.title)}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n"
        f"<h1>{_text(report.title)}</h1>\n<dl>{counts}</dl>\n<main>\n"
        + "\n".join([*_tasks(report), *_contents(report), *_files(report)])
        + "\n</main>\n</body>\n</html>\n"
    )


def _tasks(report: Report) -> Iterator[str]:
    if not report.tasks:
        return
    items = []
    for task in report.tasks:
        waiting = _list(task.waiting, with_path=True) if task.waiting else ""
        label = f'<p class="dim">{len(task.waiting):,} wait for it:</p>' if waiting else ""
        items.append(f"<li>{_said(task.finding, with_path=True)}{label}{waiting}</li>")
    yield f'<h2>Left to do</h2>\n<ul class="tasks">\n{"".join(items)}\n</ul>'


def _contents(report: Report) -> Iterator[str]:
    links = [
        f'<li><a href="#file{number}">{_text(str(page.path))}</a></li>'
        for number, page in enumerate(report.files)
    ]
    yield f"<h2>Files</h2>\n<ul>{''.join(links)}</ul>"


def _files(report: Report) -> Iterator[str]:
    for number, page in enumerate(report.files):
        yield f'<section id="file{number}">{_file(page)}</section>'


def _file(page: FilePage) -> str:
    changed = "".join(map(_hunk, page.hunks))
    others = ""
    if page.others:
        words = "Without a change:" if page.hunks else "Nothing changes here."
        others = f'<p class="dim">{words}</p>{_list(page.others)}'
    name = _text(str(page.path))
    return f"<details open>\n<summary>{name}</summary>\n<div>{changed}{others}</div>\n</details>"


def _hunk(hunk: Hunk) -> str:
    lines = "".join(
        f'<span class="{_SIGNS[sign]}">{sign}{_text(line)}</span>' for sign, line in hunk.lines
    )
    head = f'<span class="head">@@ {hunk.heading} @@</span>'
    return f'{_list(hunk.findings)}<pre tabindex="0"><code>{head}{lines}</code></pre>'


def _list(findings: Iterable[Finding], *, with_path: bool = False) -> str:
    items = "".join(f"<li>{_said(item, with_path=with_path)}</li>" for item in findings)
    return f"<ul>{items}</ul>" if items else ""


def _said(item: Finding, *, with_path: bool = False) -> str:
    where = f"{item.path}:{item.line}" if with_path else f"line {item.line}"
    unsafe = ' <span class="unsafe">unsafe</span>' if item.safety is Safety.UNSAFE else ""
    message = _CODE.sub(r"<code>\1</code>", _text(item.message))
    return f"{_text(where)}: <b>{item.code}</b> ({item.tier.value}){unsafe} {message}"


def _text(text: str) -> str:
    return escape(printable(text))
