"""Comments by which a file, a block, or a statement asks to be left alone.

`# fsdp-migrate: ignore`, with codes in brackets and a reason behind them if there are any, is about
the statement that it stands in, whichever of its lines that is.  `ignore-begin` and `ignore-end`,
each on a line of its own, are about what lies between them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

IGNORE_FILE = "fsdp-migrate: ignore-file"
_WORD = "fsdp-migrate:"
_FILE = re.compile(rf"^\s*#\s*{re.escape(IGNORE_FILE)}\s*$", re.MULTILINE)
_COMMENT = re.compile(r"#\s*fsdp-migrate:\s*ignore(-begin|-end)?(?:\[([^\]]*)\])?([^#]*)")


def ignores_file(text: str) -> bool:
    """Whether a comment, on a line of its own, asks to leave the whole file as it is."""
    return IGNORE_FILE in text and _FILE.search(text) is not None


@dataclass(frozen=True)
class Suppression:
    """One comment, the lines that it is about, and what it says."""

    line: int
    first: int
    last: int
    codes: tuple[str, ...] | None  # None: all
    reason: str = ""
    is_closed: bool = True  # False: a block without an end

    def covers(self, line: int, code: str) -> bool:
        """Whether it asks to leave what `code` says of a line."""
        return self.first <= line <= self.last and (self.codes is None or code in self.codes)

    def takes_over(self, code: str) -> bool:
        """Whether it names `code` and says why: the place is its author's business then."""
        return self.codes is not None and code in self.codes and bool(self.reason)


class Suppressions:
    """The comments of one file that ask to leave a part of it alone."""

    def __init__(self, module: Module) -> None:
        self._module = module

    @cached_property
    def all(self) -> tuple[Suppression, ...]:
        """Every such comment, in order."""
        return tuple(self._found()) if _WORD in self._module.source.text else ()

    def of(self, line: int, code: str) -> tuple[Suppression, ...]:
        """The comments that ask to leave what `code` says of a line."""
        return tuple(each for each in self.all if each.covers(line, code))

    def _found(self) -> Iterator[Suppression]:
        module = self._module
        open_: Suppression | None = None
        for line in sorted(module.lines_with_comments):
            text = module.lines[line - 1] if module.comments is None else module.comments[line]
            match = _COMMENT.search(text)
            if match is None:
                continue
            codes, reason = _codes(match[2]), match[3].strip(" \t-:,.")
            alone = module.lines[line - 1].lstrip().startswith("#")
            if match[1] == "-begin" and alone:
                if open_ is not None:
                    yield _until(open_, line)
                open_ = Suppression(line, line, len(module.lines), codes, reason, is_closed=False)
            elif match[1] == "-end" and alone:
                if open_ is not None:
                    yield _until(open_, line)
                open_ = None
            else:
                yield Suppression(line, *self._statement(line, alone), codes, reason)
        if open_ is not None:
            yield open_

    def _statement(self, line: int, alone: bool) -> tuple[int, int]:
        """The lines of the innermost statement on a line; of a compound one, those of its head.

        A comment that is `alone` on its line is in a statement that goes on below it.
        """
        ranges = [r for r in self._ranges if r[0] <= line <= r[1] - alone]
        return min(ranges, key=lambda r: r[1] - r[0], default=(line, line))

    @cached_property
    def _ranges(self) -> list[tuple[int, int]]:
        return [_lines(node) for node in nodes_in(self._module.tree) if isinstance(node, ast.stmt)]


def _lines(node: ast.stmt) -> tuple[int, int]:
    """The lines of a statement, decorators included, or of the head of a compound one."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if not body:
        return first, node.end_lineno or node.lineno
    inside = body[0].pattern.lineno if isinstance(body[0], ast.match_case) else _lines(body[0])[0]
    return first, max(node.lineno, inside - 1)


def _until(opened: Suppression, line: int) -> Suppression:
    return Suppression(opened.line, opened.first, line, opened.codes, opened.reason)


def _codes(listed: str | None) -> tuple[str, ...] | None:
    if listed is None:
        return None
    return tuple(each.strip().upper() for each in listed.split(",") if each.strip())
