"""Pieces of text put in the place of others, and where what is found in the new text stood."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from fsdp_migrate.syntax.span import Span

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")


@dataclass(frozen=True)
class Splice:
    """Text for a range of a file."""

    span: Span
    text: str


@dataclass(frozen=True)
class Spliced:
    """A text with pieces put in, none of which takes lines of its own."""

    text: str
    splices: tuple[Splice, ...]  # from the first to the last

    def column(self, line: int, col: int) -> int:
        """The column, from 0, at which what stands in the new text stood in the old one."""
        shift = 0
        for splice in self.splices:
            span = splice.span
            if span.line != line or span.end_line != line:
                continue
            start = span.col + shift
            if col < start:
                break
            if col < start + len(splice.text):
                return min(span.col + col - start, max(span.col, span.end_col - 1))
            shift += len(splice.text) - (span.end_col - span.col)
        return col - shift

    def new_column(self, line: int, col: int) -> int:
        """The column at which what is not in a piece stands now."""
        for splice in reversed(self.splices):
            span = splice.span
            if span.line == span.end_line == line and span.end_col <= col:
                col += len(splice.text) - (span.end_col - span.col)
        return col


def splice(text: str, splices: Iterable[Splice]) -> Spliced:
    """`text` with all `splices`, which don't overlap."""
    ordered = sorted(set(splices), key=lambda each: each.span)
    starts = [0, *accumulate(len(found.group()) for found in _LINE.finditer(text))]
    made: list[str] = []
    at = 0
    for each in ordered:
        span = each.span
        made += [text[at : starts[span.line - 1] + span.col], each.text]
        at = starts[span.end_line - 1] + span.end_col
    return Spliced("".join([*made, text[at:]]), tuple(ordered))
