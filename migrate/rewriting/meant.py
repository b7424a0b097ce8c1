"""The tree that a file's edits mean, made without any text.

The same edits are made twice: here on Python's own tree, and by `statements` on the source.
What the second gives has to parse to what the first gives; and what a file will import follows
from the tree, before a character of the file is written.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeVar, cast

from fsdp_migrate.findings.code import ALTERNATIVE, NOTHING, Part
from fsdp_migrate.findings.edits import Edit, LeaveContext
from fsdp_migrate.findings.spelling import Spelling
from fsdp_migrate.rewriting.edits_by_place import EditsByPlace, Start, lines_of, start_of
from fsdp_migrate.rewriting.meant_code import MeantCode, Suites, copied, in_context
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import fresh_copy, nodes_in
from fsdp_migrate.syntax.span import Span

_Node = TypeVar("_Node", bound=ast.AST)


def meant(module: Module, edits: Iterable[Edit], spelling: Spelling) -> ast.Module:
    """The tree of `module` with `edits` made; what no edit is about is shared with the old one."""
    return _Builder(module, EditsByPlace(tuple(edits)), spelling).of(module.tree)


def same(one: ast.AST, other: ast.AST) -> bool:
    """Whether two trees say the same: `a and (b and c)` is `a and b and c`."""
    return ast.dump(one) == ast.dump(other) or flat_dump(one) == flat_dump(other)


def flat_dump(tree: ast.AST) -> str:
    """What a tree says, but for how operations of one operator are nested."""
    return ast.dump(_Flat().visit(fresh_copy(tree)))


class _Flat(ast.NodeTransformer):
    """Joins operations of `and` in `and`, and of `or` in `or`."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.BoolOp:
        self.generic_visit(node)
        values: list[ast.expr] = []
        for value in node.values:
            joins = isinstance(value, ast.BoolOp) and type(value.op) is type(node.op)
            values.extend(value.values if joins and isinstance(value, ast.BoolOp) else [value])
        node.values = values
        return node


class _Builder:
    """Makes the new tree from the top down."""

    def __init__(self, module: Module, edits: EditsByPlace, spelling: Spelling) -> None:
        self.module = module
        self.edits = edits
        self.lines = [*lines_of(edits.edits), *((s.line, s.end_line) for s in edits.kept)]
        self.places = _found(module, edits.kept)
        self.new = MeantCode(spelling, self._kept)
        self.inside: list[Span] = []  # edits that are being made
        self.others: dict[int, ast.expr] = {}  # instead of nodes, by their ids

    def _kept(self, span: Span, instead: Mapping[Span, ast.expr]) -> ast.expr:
        """A kept expression with the edits in it, and other expressions instead of some."""
        others = {id(self.places[place]): other for place, other in instead.items()}
        saved, self.others = self.others, {**self.others, **others}
        made = self.of(self.places[span])
        self.others = saved
        return made

    def of(self, node: _Node) -> _Node:
        """`node` with the edits inside it made, or itself if there are none."""
        if id(node) in self.others:
            return cast(_Node, self.others[id(node)])
        if not self._concerns(node):
            return node
        if isinstance(node, ast.expr):
            span = self.module.span(node)
            edit = self.edits.expressions.get(span)
            if edit is not None and span not in self.inside:
                self.inside.append(span)
                made = self.new.expression(edit.code)
                self.inside.pop()
                return cast(_Node, in_context(made, getattr(node, "ctx", None)))
        changed: dict[str, object] = {}
        for name, value in ast.iter_fields(node):
            new = self._field(value)
            if new is not value:
                changed[name] = new
        return copied(node, changed) if changed else node

    def _concerns(self, node: ast.AST) -> bool:
        """Whether an edit is about a line that `node` is on."""
        first = getattr(node, "lineno", None)
        if first is None:
            return True
        for decorator in getattr(node, "decorator_list", ()):
            first = min(first, decorator.lineno)
        last = getattr(node, "end_lineno", first)
        return any(start <= last and first <= end for start, end in self.lines)

    def _field(self, value: object) -> object:
        if isinstance(value, ast.AST):
            return self.of(value)
        if not isinstance(value, list) or not value:
            return value
        if isinstance(value[0], ast.stmt):
            return self._block(value)
        new = [self.of(item) if isinstance(item, ast.AST) else item for item in value]
        return value if all(a is b for a, b in zip(new, value, strict=True)) else new

    # ------------------------------------------------------------------ statements
    def _block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        moved: dict[Start, list[ast.stmt]] = defaultdict(list)
        for statement in statements:
            start = start_of(self.module.span(statement))
            pieces = self._statement(statement, start)
            move = self.edits.moves.get(start)
            if move is not None:
                moved[start_of(move.below)].extend(pieces)
                continue
            result += [*pieces, *moved.pop(start, [])]
        if len(result) == len(statements) and all(
            new is old for new, old in zip(result, statements, strict=True)
        ):
            return statements
        if not result and statements is not self.module.tree.body:
            return [] if self._is_elif(statements[0]) else [ast.Pass()]
        return result

    def _statement(self, statement: ast.stmt, start: Start) -> list[ast.stmt]:
        """What becomes of a statement, and what is inserted beside it."""
        before: list[ast.stmt] = []
        after: list[ast.stmt] = []
        for insert in self.edits.inserts.get(start, ()):
            (after if insert.after else before).extend(self.new.block(insert.code, Suites()))
        return [*before, *self._replaced(statement, start), *after]

    def _replaced(self, statement: ast.stmt, start: Start) -> list[ast.stmt]:
        edit = self.edits.statements.get(start)
        if edit is None:
            return self._without_items(statement)
        body: list[ast.stmt] = getattr(statement, "body", [])
        orelse: list[ast.stmt] = getattr(statement, "orelse", [])
        if self._is_elif(statement) and edit.code in (NOTHING, ALTERNATIVE):
            return self._block(orelse) if orelse else []
        suites = Suites(
            self._block(body) if body else (),
            self._block(orelse) if orelse else (),
        )
        return self.new.block(edit.code, suites)

    def _is_elif(self, statement: ast.stmt) -> bool:
        parent = self.module.parents.get(statement)
        return (
            isinstance(statement, ast.If)
            and isinstance(parent, ast.If)
            and parent.orelse == [statement]
            and self.module.lines[statement.lineno - 1].lstrip().startswith("elif")
        )

    def _without_items(self, statement: ast.stmt) -> list[ast.stmt]:
        """A statement of which nothing goes but items of a `with`."""
        new = self.of(statement)
        decoration = self.edits.decorations.get(start_of(self.module.span(statement)))
        if decoration is not None and isinstance(new, ast.FunctionDef):
            own = [*new.decorator_list, self.new.expression(decoration.code)]
            return [copied(new, {"decorator_list": own})]
        if not isinstance(statement, ast.With) or not isinstance(new, ast.With):
            return [new]
        kept: list[ast.withitem] = []
        left: list[LeaveContext] = []
        for item, made in zip(statement.items, new.items, strict=True):
            edit = self.edits.leaves.get(self.module.span(item.context_expr))
            if edit is None:
                kept.append(made)
            else:
                left.append(edit)
        if not left:
            return [new]
        body: list[ast.stmt] = [copied(new, {"items": kept})] if kept else new.body
        above = self._all(edit.before for edit in left)
        below = self._all(edit.after for edit in left)
        if below and any(edit.guarded for edit in left):
            return [*above, ast.Try(body, [], [], below)]
        return [*above, *body, *below]

    def _all(self, parts: Iterable[Part | None]) -> list[ast.stmt]:
        """The statements of several pieces of code."""
        return [s for part in parts if part is not None for s in self.new.block(part, Suites())]


def _found(module: Module, spans: frozenset[Span]) -> dict[Span, ast.expr]:
    """The expressions at `spans`: the outermost, where a part has the place of the whole.

    Before Python 3.12 the parts of an f-string say that they are where the string is.
    """
    lines = {span.line for span in spans}
    found: dict[Span, ast.expr] = {}
    for node in nodes_in(module.tree):
        if isinstance(node, ast.expr) and node.lineno in lines:
            span = module.span(node)
            if span in spans:
                found.setdefault(span, node)
    return found
