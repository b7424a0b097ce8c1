"""The places in a file's LibCST tree that edits are about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import libcst as cst
from libcst.metadata import CodeRange

from fsdp_migrate.findings.edits import (
    Decorate,
    Edit,
    LeaveContext,
    ReplaceStatement,
    RewriteArguments,
)
from fsdp_migrate.rewriting.edits_by_place import EditError, EditsByPlace, Start, lines_of
from fsdp_migrate.syntax.span import Span

_STATEMENTS = (cst.SimpleStatementLine, cst.BaseCompoundStatement)


@dataclass
class Places:
    """The nodes that the edits of a file are about."""

    edits: EditsByPlace
    spans: dict[cst.CSTNode, Span] = field(default_factory=dict)  # replaced or kept expressions
    original: dict[Span, cst.BaseExpression] = field(default_factory=dict)
    starts: dict[cst.CSTNode, Start] = field(default_factory=dict)  # edited statements
    left: dict[cst.CSTNode, LeaveContext] = field(default_factory=dict)  # contexts
    decorated: dict[cst.CSTNode, Decorate] = field(default_factory=dict)  # functions
    lines: dict[cst.CSTNode, Start] = field(default_factory=dict)  # moved, or landed behind
    columns: dict[cst.CSTNode, int] = field(default_factory=dict)  # of statements' lines
    quiet: set[cst.CSTNode] = field(default_factory=set)  # statements that nothing changes in
    made: set[Edit] = field(default_factory=set)  # by those who go through the tree

    @classmethod
    def of(cls, edits: EditsByPlace, positions: Mapping[cst.CSTNode, CodeRange]) -> Places:
        """The nodes at the places of `edits`, by where each node of the tree stands.

        Raises:
            EditError: there is nothing at the place of an edit.
        """
        places = cls(edits)
        touched = lines_of(edits.edits)
        found: set[Edit] = set()
        for node, place in positions.items():
            found.update(places._index(node, place_of(node, positions)))
            if isinstance(node, _STATEMENTS):
                decorators = getattr(node, "decorators", ())
                first = positions[decorators[0]].start.line if decorators else place.start.line
                if not any(a <= place.end.line and first <= b for a, b in touched):
                    places.quiet.add(node)
        for edit in edits.edits:
            if edit not in found:
                raise EditError(f"nothing to edit at {edit.span}: {edit}")
        return places

    def _index(self, node: cst.CSTNode, span: Span) -> Iterator[Edit]:
        """Remember what `node` is to edits: gives those that it is the place of."""
        start = (span.line, span.col)
        if isinstance(node, _STATEMENTS):
            yield from self._index_line(node, start)
        if isinstance(node, cst.SimpleStatementLine | cst.With):
            self.columns[node] = span.col
        if isinstance(node, cst.BaseExpression):
            yield from self._index_expression(node, span)
        elif isinstance(node, cst.BaseSmallStatement | cst.BaseCompoundStatement):
            yield from self._index_statement(node, start)

    def _index_line(self, node: cst.CSTNode, start: Start) -> Iterator[Edit]:
        move = self.edits.moves.get(start)
        if move is not None or start in self.edits.landings:
            self.lines[node] = start
        if move is not None:
            yield move

    def _index_statement(self, node: cst.CSTNode, start: Start) -> Iterator[Edit]:
        edit, inserts = self.edits.statements.get(start), self.edits.inserts.get(start, ())
        if edit is not None or inserts:
            self.starts[node] = start
        yield from inserts
        if edit is not None:
            yield edit
        decoration = self.edits.decorations.get(start)
        if decoration is not None and isinstance(node, cst.FunctionDef):
            self.decorated[node] = decoration
            yield decoration

    def _index_expression(self, node: cst.BaseExpression, span: Span) -> Iterator[Edit]:
        left, edit = self.edits.leaves.get(span), self.edits.expressions.get(span)
        if edit is not None or span in self.edits.kept:
            self.spans[node] = span
            self.original[span] = node
        if isinstance(node, cst.Call) and len(node.args) == 1:
            self._index_generator(node.args[0].value, span)
        if left is not None:
            self.left[node] = left
            yield left
        if edit is not None:
            yield edit

    def _index_generator(self, node: cst.BaseExpression, call: Span) -> None:
        """Remember the generator in `f(x for x in y)`: to `ast` the parentheses are its own."""
        if isinstance(node, cst.GeneratorExp) and not node.lpar:
            for span in self.edits.kept:
                same_end = (span.end_line, span.end_col) == (call.end_line, call.end_col)
                if span != call and same_end and call.contains(span):
                    self.spans[node] = span
                    self.original[span] = node

    # ------------------------------------------------------------------ questions
    def statement_edit(self, node: cst.CSTNode) -> ReplaceStatement | None:
        """What takes the place of a statement, if it is replaced."""
        start = self.starts.get(node)
        return self.edits.statements.get(start) if start is not None else None

    def items_left(self, statement: cst.BaseStatement) -> dict[int, LeaveContext]:
        """The items that go, by their place among the items of a `with` statement."""
        items = statement.items if isinstance(statement, cst.With) else ()
        edits = [(index, self.left.get(item.item)) for index, item in enumerate(items)]
        return {index: edit for index, edit in edits if edit is not None}

    def dropped_comments(self, *statements: cst.CSTNode) -> frozenset[str]:
        """The comments of statements that edits say go with them."""
        smalls = [
            small
            for statement in statements
            if isinstance(statement, cst.SimpleStatementLine)
            for small in statement.body
        ]
        edits = [self.statement_edit(node) for node in (*statements, *smalls)]
        return frozenset(comment for edit in edits if edit for comment in edit.without_comments)

    def dropped_inside(self, statement: cst.CSTNode) -> Counter[str]:
        """The comments that go with calls inside, or with statements inside of a compound one."""
        found: Counter[str] = Counter()
        rewritten = {
            span: edit
            for span, edit in self.edits.expressions.items()
            if isinstance(edit, RewriteArguments) and edit.without_comments
        }
        by_statement = any(edit.without_comments for edit in self.edits.statements.values())
        if not by_statement and not rewritten:
            return found
        todo = list(statement.children)
        while todo:
            node = todo.pop()
            edit = self.statement_edit(node)
            if edit is not None:
                found.update(edit.without_comments)
            call = rewritten.get(self.spans[node]) if node in self.spans else None
            if call is not None:
                found.update(call.without_comments)
            if rewritten or not isinstance(node, cst.BaseExpression):
                todo += node.children
        return found

    def complain_unless_made(self) -> None:
        """Complain about edits that were found and not made.

        Raises:
            EditError: there are some.
        """
        for edit in self.edits.edits:
            if edit not in self.made:
                raise EditError(f"not made at {edit.span}: {edit}")


def place_of(node: cst.CSTNode, positions: Mapping[cst.CSTNode, CodeRange]) -> Span:
    """Where `ast` sees `node`: to it the brackets of a tuple or a generator are part of that."""
    first = last = node
    if isinstance(node, cst.Tuple | cst.GeneratorExp) and node.lpar:
        first, last = node.lpar[-1], node.rpar[0]
    start, end = positions[first].start, positions[last].end
    return Span(start.line, start.column, end.line, end.column)
