"""Pieces of HTML that sections are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape


def section(title: str, body: str) -> str:
    """A part of the page with a heading that names it for screen readers too."""
    name = re.sub(r"\W+", "-", title.lower())
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>{body}</section>'


def scroller(label: str, body: str) -> str:
    """What may be wider than the page: it can be reached and scrolled with the keyboard."""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0">{body}</div>'
    )


def table(label: str, head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 99) -> str:
    """A table of escaped cells; from column `numbers` on they are aligned to the right."""

    def cell(tag: str, place: int, text: str, scope: str = "") -> str:
        kind = ' class="n"' if place >= numbers else ""
        return f"<{tag}{kind}{scope}>{text}</{tag}>"

    heading = "".join(cell("th", n, escape(t), ' scope="col"') for n, t in enumerate(head))
    body = "".join(
        "<tr>"
        + cell("th", 0, row[0], ' scope="row"')
        + "".join(cell("td", n, text) for n, text in enumerate(row[1:], 1))
        + "</tr>"
        for row in rows
    )
    return scroller(label, f"<table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>")


def figure(caption: str, body: str) -> str:
    """A chart below its caption, which is HTML."""
    return f"<figure><figcaption>{caption}</figcaption>{body}</figure>"


def folded(summary: str, body: str, opened: bool = False) -> str:
    """What is shown on demand."""
    state = " open" if opened else ""
    return f"<details{state}><summary>{escape(summary)}</summary>{body}</details>"
