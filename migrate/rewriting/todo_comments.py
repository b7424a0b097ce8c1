"""`--mark`: a comment above each place that is left for a person, until it is done.

Only places that hold others back, or stand for themselves, have one: what is held back goes with
them.  A comment says nothing of lines, which move.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from bisect import bisect_left
from collections.abc import Iterable, Mapping

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.printable import printable

PREFIX = "# TODO(fsdp-migrate):"
_LINE_NUMBERS = re.compile(r"(\.(?:py|ya?ml|json)):\d+(?::\d+)?")
_CODE = re.compile(re.escape(PREFIX) + r" (\w+)")


def mark(text: str, findings: Iterable[Finding], *, add: bool = True) -> str:
    """`text` with a comment above the statement of every finding that is work, once each.

    Comments of an earlier run that are about something else by now are gone.  If not `add`, no
    place gets one that has none.
    """
    if not add and PREFIX not in text:
        return text
    lines = text.splitlines(keepends=True)
    marks = _marks(text)
    starts = sorted(_statement_starts(ast.parse(text)))
    old = {(_below(starts, line), code) for line, code in marks.items()}
    wanted: dict[int, dict[str, str]] = {}
    for finding in findings:
        if finding.tier is Tier.MANUAL and finding.held_by is None:
            line = max((start for start in starts if start <= finding.line), default=1)
            if add or (line, finding.code) in old:
                wanted.setdefault(line, {}).setdefault(finding.code, _comment(finding))
    newline = "\r\n" if "\r\n" in text else "\n"
    result: list[str] = []
    for number, line_text in enumerate(lines, 1):
        indent = line_text[: len(line_text) - len(line_text.lstrip())]
        result += [f"{indent}{note}{newline}" for note in wanted.get(number, {}).values()]
        if number not in marks:
            result.append(line_text)
    marked = "".join(result)
    return marked if _same_program(text, marked) else text


def _comment(finding: Finding) -> str:
    message = _LINE_NUMBERS.sub(r"\1", " ".join(finding.message.split("\n")))
    return printable(f"{PREFIX} {finding.code} {message}")


def _marks(text: str) -> Mapping[int, str]:
    """The lines that are comments of an earlier run, each with the code that it is about."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        code = _CODE.match(token.string) if token.type == tokenize.COMMENT else None
        if code is not None and not token.line[: token.start[1]].strip():
            found[token.start[0]] = code[1]
    return found


def _below(starts: list[int], line: int) -> int:
    """The first statement below a line."""
    index = bisect_left(starts, line)
    return starts[index] if index < len(starts) else 0


def _same_program(one: str, other: str) -> bool:
    try:
        return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    except SyntaxError:  # a line that goes on, where no comment can stand
        return False


def _statement_starts(tree: ast.Module) -> set[int]:
    """The lines on which a statement starts, its decorators included."""
    starts: set[int] = set()
    for node in nodes_in(tree):
        if isinstance(node, ast.stmt):
            decorators = getattr(node, "decorator_list", [])
            starts.add(min([node.lineno, *(d.lineno for d in decorators)]))
    return starts
