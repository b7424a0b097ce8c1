"""The places in a file's LibCST tree that edits are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import libcst as cst
from libcst.metadata import CodeRange

from fsdp_migrate.findings.edits import (
    Edit,
    InsertStatements,
    LeaveContext,
    MoveStatement,
    ReplaceExpression,
    ReplaceStatement,
    RewriteArguments,
    kept_by,
)
from fsdp_migrate.syntax.span import Span

Start = tuple[int, int]  # line and column


class EditError(Exception):
    """An edit that does not fit the source: a defect of a rule."""


@dataclass
class Places:
    """The edits of a file by their places, and the nodes at these places.

    Raises:
        EditError: two edits are about one place, or there is nothing where one is.
    """

    edits: tuple[Edit, ...]
    expressions: dict[Span, ReplaceExpression | RewriteArguments] = field(default_factory=dict)
    statements: dict[Start, ReplaceStatement] = field(default_factory=dict)
    inserts: dict[Start, list[InsertStatements]] = field(default_factory=lambda: defaultdict(list))
    moves: dict[Start, MoveStatement] = field(default_factory=dict)
    landings: set[Start] = field(default_factory=set)  # where moved statements go
    leaves: dict[Span, LeaveContext] = field(default_factory=dict)  # by the context
    kept: frozenset[Span] = frozenset()
    # nodes
    spans: dict[cst.CSTNode, Span] = field(default_factory=dict)  # replaced or kept expressions
    original: dict[Span, cst.BaseExpression] = field(default_factory=dict)
    starts: dict[cst.CSTNode, Start] = field(default_factory=dict)  # edited statements
    left: dict[cst.CSTNode, LeaveContext] = field(default_factory=dict)  # contexts
    lines: dict[cst.CSTNode, Start] = field(default_factory=dict)  # moved, or landed behind
    columns: dict[cst.CSTNode, int] = field(default_factory=dict)  # of statements' lines
    quiet: set[cst.CSTNode] = field(default_factory=set)  # statements that nothing changes in

    def __post_init__(self) -> None:
        self.kept = frozenset(span for edit in self.edits for span in kept_by(edit))
        for edit in self.edits:
            start = (edit.span.line, edit.span.col)
            if isinstance(edit, ReplaceExpression | RewriteArguments):
                if self.expressions.setdefault(edit.span, edit) != edit:
                    raise EditError(f"two edits of the expression at {edit.span}")
            elif isinstance(edit, ReplaceStatement):
                if self.statements.setdefault(start, edit) != edit:
                    raise EditError(f"two edits of the statement at {edit.span}")
            elif isinstance(edit, MoveStatement):
                if self.moves.setdefault(start, edit) != edit:
                    raise EditError(f"two places for the statement at {edit.span}")
                self.landings.add((edit.below.line, edit.below.col))
            elif isinstance(edit, LeaveContext):
                if self.leaves.setdefault(edit.span, edit) != edit:
                    raise EditError(f"two edits of the context at {edit.span}")
            else:
                self.inserts[start].append(edit)

    def look(self, positions: Mapping[cst.CSTNode, CodeRange]) -> None:
        """Find the nodes that the edits are about.

        Raises:
            EditError: there is none at the place of an edit.
        """
        found: set[Edit] = set()
        for node, place in positions.items():
            found.update(self._index(node, place_of(node, positions)))
            decorators = getattr(node, "decorators", ())
            first = positions[decorators[0]].start.line if decorators else place.start.line
            self._note_quiet(node, first, place.end.line)
        for edit in self.edits:
            if edit not in found:
                raise EditError(f"nothing to edit at {edit.span}: {edit}")

    def _index(self, node: cst.CSTNode, span: Span) -> Iterator[Edit]:
        """The edits that `node` is the place of."""
        start = (span.line, span.col)
        if isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement):
            if start in self.moves or start in self.landings:
                self.lines[node] = start
            if start in self.moves:
                yield self.moves[start]
        if isinstance(node, cst.SimpleStatementLine | cst.With):
            self.columns[node] = span.col
        if isinstance(node, cst.BaseExpression):
            if span in self.leaves:
                self.left[node] = self.leaves[span]
                yield self.leaves[span]
            if span in self.expressions or span in self.kept:
                self.spans[node] = span
                self.original[span] = node
            if isinstance(node, cst.Call) and len(node.args) == 1:
                self._index_generator(node.args[0].value, span)
            if span in self.expressions:
                yield self.expressions[span]
        elif isinstance(node, cst.BaseSmallStatement | cst.BaseCompoundStatement):
            if start in self.statements or start in self.inserts:
                self.starts[node] = start
                yield from self.inserts.get(start, ())
            if start in self.statements:
                yield self.statements[start]

    def _index_generator(self, node: cst.BaseExpression, call: Span) -> None:
        """Remember the generator in `f(x for x in y)`: to `ast` the parentheses are its own."""
        if isinstance(node, cst.GeneratorExp) and not node.lpar:
            for span in self.kept:
                same_end = (span.end_line, span.end_col) == (call.end_line, call.end_col)
                if span != call and same_end and call.contains(span):
                    self.spans[node] = span
                    self.original[span] = node

    def _note_quiet(self, node: cst.CSTNode, first: int, last: int) -> None:
        """Remember a statement (from line `first`, its decorators included) without any edit."""
        if isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement) and not any(
            edit.span.line <= last and first <= edit.span.end_line for edit in self.edits
        ):
            self.quiet.add(node)

    # ------------------------------------------------------------------ questions
    def statement_edit(self, node: cst.CSTNode) -> ReplaceStatement | None:
        """What takes the place of a statement, if it is replaced."""
        start = self.starts.get(node)
        return self.statements.get(start) if start is not None else None

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

    def complain_unless_made(self, made: set[Edit]) -> None:
        """Complain about edits that were found and not made.

        Raises:
            EditError: there are some.
        """
        for edit in self.edits:
            if edit not in made:
                raise EditError(f"not made at {edit.span}: {edit}")


def place_of(node: cst.CSTNode, positions: Mapping[cst.CSTNode, CodeRange]) -> Span:
    """Where `ast` sees `node`: to it the brackets of a tuple or a generator are part of that."""
    first = last = node
    if isinstance(node, cst.Tuple | cst.GeneratorExp) and node.lpar:
        first, last = node.lpar[-1], node.rpar[0]
    start, end = positions[first].start, positions[last].end
    return Span(start.line, start.column, end.line, end.column)
