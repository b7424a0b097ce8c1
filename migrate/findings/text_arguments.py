"""The arguments of a call, or the items of a dict display, changed where they stand.

An edit that writes a call anew loses how it was laid out.  Here only what changes is touched:
the lines, the comments and the order of the other arguments stay.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from fsdp_migrate.findings.finding import ReplaceExpression
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.separated_items import Listing
from fsdp_migrate.syntax.span import Span

_LINES = re.compile(r"\r\n|\r|\n")
_HOLE = re.compile(r"\{(\d+|body)\}")


@dataclass(eq=False)
class Item:
    """One argument: what is written before its value, and the value (None for a new text)."""

    name: str | None  # of the keyword, or the key if that is a string
    before: str
    value: ast.expr | None
    text: str = ""  # instead of the value; "{0}" and so on stand for `holes`
    holes: tuple[Span, ...] = ()
    parts: tuple[str, ...] = ()  # what stands in `text`, a pair of brackets with a name before it


class Arguments(Listing[Item]):
    """A call or a dict display of `module`, and what becomes of it."""

    def __init__(self, module: Module, node: ast.Call | ast.Dict) -> None:
        super().__init__()
        self.module = module
        self.node = node
        nodes = _parts(self.node)
        start, end = self._range(self.node)
        text = self.module.source.text
        self.keywords = isinstance(self.node, ast.Call)  # or keys of a dict
        self.changed = False
        self.newline = "\r\n" if "\r\n" in text else "\n"
        at, opened = start, 0
        for first, name, value in nodes:
            head = self._offset(first.lineno, first.col_offset)
            begin, stop = self._range(value)
            gap, at = text[at:head], stop
            gap, opened = _closed(gap, opened)
            before = text[head:begin]
            while before.rstrip().endswith("("):
                before, opened = before.rstrip()[:-1], opened + 1
            self.gaps.append(gap)
            self.items.append(Item(name, before, value))
        self.gaps.append(_closed(text[at:end], opened)[0])

    # ------------------------------------------------------------------ questions
    def __contains__(self, name: str) -> bool:
        return self.item(name) is not None

    def item(self, name: str) -> Item | None:
        """The argument called `name`."""
        return next((item for item in self.items if item.name == name), None)

    def value(self, name: str) -> ast.expr | None:
        """What is passed as `name` in the source."""
        item = self.item(name)
        return item.value if item is not None else None

    # ------------------------------------------------------------------ changes
    def drop(self, name: str) -> None:
        """Leave an argument out, and the comment on its line."""
        item = self.item(name)
        if item is None:
            return
        self.remove(item)
        self.changed = True

    def put(
        self,
        name: str,
        text: str,
        *holes: Span,
        instead_of: str | None = None,
        first: bool = False,
    ) -> None:
        """Pass `text` as `name`: in its place, in that of `instead_of`, at the front or the end."""
        item = self.item(name) or self.item(instead_of or name)
        if item is None:
            item = Item(name, self._prefix(name), None)
            self.insert(item, "(" if self.keywords else "{", first)
        elif item.name != name:
            item.before = self._prefix(name)
        self.changed = True
        item.name, item.value, item.text, item.holes = name, None, text, holes

    def put_parts(self, name: str, brackets: str, *parts: str) -> None:
        """Pass `parts` in `brackets` ("{}", "Name()"), a line each if one line is too long."""
        self.put(name, brackets)
        item = self.item(name)
        assert item is not None
        item.parts = parts

    def make_call(self, callee: str) -> None:
        """Turn the call, or the dict display, into a call of `callee` with keywords."""
        bracket = "(" if isinstance(self.node, ast.Call) else "{"
        self.gaps[0] = f"{callee}({self.gaps[0].partition(bracket)[2]}"
        self.gaps[-1] = f"{self.gaps[-1][:-1]})"
        for item in self.items:
            item.before = f"{item.name}="
        self.keywords = self.changed = True

    def edit(self) -> ReplaceExpression:
        """The edit that makes the changes."""
        parts: list[str] = []
        holes: list[Span] = []
        self._spread()
        for gap, item in zip(self.gaps, [*self.items, None], strict=True):
            parts.append(_HOLE.sub("", gap))
            if item is None:
                continue
            own = (self.module.span(item.value),) if item.value is not None else item.holes
            text = self._value(gap, item) if item.value is None else "{0}"
            base = len(holes)
            text = re.sub(r"\{(\d+)\}", lambda m, b=base: f"{{{int(m[1]) + b}}}", text)  # type: ignore[misc]
            parts.append(f"{item.before}{text}")
            holes.extend(own)
        return ReplaceExpression(
            self.module.span(self.node), self._dedented("".join(parts)), tuple(holes)
        )

    # ------------------------------------------------------------------ the text
    def _spread(self) -> None:
        """An argument a line, if what is new makes the one line too long."""
        text = self.module.source.text
        flat = [
            item.before
            + (text[slice(*self._range(item.value))] if item.value else self._value("", item))
            for item in self.items
        ]
        around = "".join(self.gaps)
        new = isinstance(self.node, ast.Dict) or any(item.parts for item in self.items)
        new = new or self.gaps[0] not in text
        if not new or "\n" in around or "#" in around:
            return
        line = self.module.lines[self.node.lineno - 1]
        indent = line[: len(line) - len(line.lstrip())]
        column = self.module.span(self.node).col
        if column + len(around) + sum(map(len, flat)) > self.module.line_length:
            step = f"{self.newline}{indent}    "
            self.gaps[0] = self.gaps[0].rstrip() + step
            self.gaps[1:-1] = [f",{step}"] * (len(self.items) - 1)
            tail = self.gaps[-1].lstrip().removeprefix(",").lstrip()
            self.gaps[-1] = f",{self.newline}{indent}{tail}"

    def _value(self, gap: str, item: Item) -> str:
        """The new text of an argument that stands behind `gap`."""
        if not item.parts:
            return item.text
        opening, closing = item.text[:-1], item.text[-1]
        flat = f"{opening}{', '.join(item.parts)}{closing}"
        indent = gap[gap.rindex("\n") + 1 :] if "\n" in gap else ""
        if "\n" not in gap or len(indent) + len(item.before) + len(flat) < self.module.line_length:
            return flat
        inner = f",{self.newline}{indent}    ".join(item.parts)
        return f"{opening}{self.newline}{indent}    {inner},{self.newline}{indent}{closing}"

    def _indent(self) -> str:
        line = self.module.lines[self.module.statement(self.node).lineno - 1]
        return line[: len(line) - len(line.lstrip())]

    def _prefix(self, name: str) -> str:
        return f"{name}=" if self.keywords else f"{self.quote}{name}{self.quote}: "

    @property
    def quote(self) -> str:
        """The quotation mark that the source likes here."""
        text = self.module.text(self.node)
        return "'" if text.count("'") > text.count('"') else '"'

    def _dedented(self, text: str) -> str:
        """`text` with its lines relative to the statement, as templates have them."""
        indent = self._indent()
        return re.sub(rf"(\n){re.escape(indent)}", r"\1", text) if indent else text

    def _range(self, node: ast.AST) -> tuple[int, int]:
        return (
            self._offset(node.lineno, node.col_offset),  # type: ignore[attr-defined]
            self._offset(node.end_lineno, node.end_col_offset),  # type: ignore[attr-defined]
        )

    def _offset(self, line: int, column: int) -> int:
        """The place in the text of what `ast` puts at a line and a column in bytes."""
        text = self.module.source.text
        at = 0
        for _ in range(line - 1):
            found = _LINES.search(text, at)
            at = found.end() if found else len(text)
        own = self.module.lines[line - 1]
        if not own.isascii():
            column = len(own.encode()[:column].decode(errors="ignore"))
        return at + column


def _parts(node: ast.Call | ast.Dict) -> list[tuple[ast.expr | ast.keyword, str | None, ast.expr]]:
    """Where each argument starts, its name and its value, in the order of the source."""
    if isinstance(node, ast.Call):
        found: list[tuple[ast.expr | ast.keyword, str | None, ast.expr]] = [
            *((a, None, a) for a in node.args),
            *((k, k.arg, k.value) for k in node.keywords),
        ]
        return sorted(found, key=lambda part: (part[0].lineno, part[0].col_offset))
    return [
        (key if key is not None else value, _string(key), value)
        for key, value in zip(node.keys, node.values, strict=True)
    ]


def _string(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _closed(gap: str, opened: int) -> tuple[str, int]:
    """`gap` without the parentheses that close around the value before it."""
    while opened and gap.lstrip().startswith(")"):
        gap, opened = gap.lstrip()[1:], opened - 1
    return gap, opened
