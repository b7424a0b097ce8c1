"""Edits as data, made: one pass of LibCST over a file, everything else left byte for byte."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import cast

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from fsdp_migrate.findings.code import ALTERNATIVE, NOTHING, Part, parts_of
from fsdp_migrate.findings.edits import (
    Edit,
    InsertStatements,
    LeaveContext,
    ReplaceExpression,
    ReplaceStatement,
    RewriteArguments,
)
from fsdp_migrate.findings.spelling import Spelling
from fsdp_migrate.rewriting.argument_lists import rewritten
from fsdp_migrate.rewriting.comments import (
    Statement,
    alternative,
    bare,
    comments_only,
    has_lines_above,
    inline_comments,
    keep_comments,
    led,
    suite,
    without,
)
from fsdp_migrate.rewriting.fragments import Fragments, goes_on, has_brackets, requoted
from fsdp_migrate.rewriting.line_breaks import Layout, laid_out
from fsdp_migrate.rewriting.parentheses import generators_apart, held_together, parenthesized
from fsdp_migrate.rewriting.places import EditError, Places, Start
from fsdp_migrate.rewriting.with_items import guarded, without_items
from fsdp_migrate.syntax.source import line_length
from fsdp_migrate.syntax.span import Span

_NOWHERE = (0, 0)


def apply_edits(text: str, edits: Iterable[Edit], spelling: Spelling) -> str:
    """`text` with all `edits` made; `spelling` tells how the file calls what they name.

    Raises:
        EditError: an edit names a place that the source doesn't have, or two edits collide.
    """
    module = cst.parse_module(text)
    places = Places(tuple(dict.fromkeys(edits)))
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    places.look(wrapper.resolve(PositionProvider))
    renderer = _Renderer(module, places, spelling)
    result = module.visit(renderer).code
    places.complain_unless_made(renderer.made)
    return result


class _Renderer(cst.CSTTransformer):
    """Makes the edits on the way up; what an edit keeps from elsewhere is made when it is met."""

    def __init__(self, module: cst.Module, places: Places, spelling: Spelling) -> None:
        super().__init__()
        self.places = places
        self.indent = module.default_indent
        self.width = line_length(module.code)  # new code beyond it is broken up
        self.fragments = Fragments(
            module.config_for_parsing, spelling, self._kept, width=self.width
        )
        self.updated: dict[Span, cst.BaseExpression] = {}  # what edits keep, edited
        self.unedited: dict[Span, cst.BaseExpression] = {}  # where an edit keeps its own place
        self.made: set[Edit] = set()
        self.generated: set[cst.CSTNode] = set()
        self.gaps: dict[cst.CSTNode, int] = {}  # blank lines below inserted statements
        self.brackets = 0  # around the current node
        self.quotes: list[str] = []  # of the f-strings around the current node

    def on_visit(self, node: cst.CSTNode) -> bool:
        self.brackets += has_brackets(node)
        return node not in self.places.quiet and super().on_visit(node)

    # ------------------------------------------------------------------ expressions
    def visit_FormattedString(self, node: cst.FormattedString) -> None:
        self.quotes.append(node.start[-1])

    def leave_FormattedString(
        self, original_node: cst.FormattedString, updated_node: cst.FormattedString
    ) -> cst.BaseExpression:
        self.quotes.pop()
        return updated_node

    def on_leave(
        self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT
    ) -> cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]:
        result = super().on_leave(original_node, updated_node)
        self.brackets -= has_brackets(original_node)
        if isinstance(result, cst.CSTNode) and result is not original_node:
            result = cast(cst.CSTNodeT, self._held_together(result))
        span = self.places.spans.get(original_node)
        if span is None:
            return result
        node = cast(cst.BaseExpression, result)
        edit = self.places.expressions.get(span)
        if edit is not None:
            self.unedited[span] = node
            node = self._expression(edit, node)
            del self.unedited[span]
            self.generated.add(node)
        self.updated[span] = node
        return cast(cst.CSTNodeT, node)

    def _held_together(self, node: cst.CSTNode) -> cst.CSTNode:
        """`node` with parentheses around new code that needs them, which stays new."""
        held = held_together(node, self.generated.__contains__)
        if isinstance(held, cst.Call) and self.generated:
            held = generators_apart(held)
        if held is not node:
            self.generated |= {child for child in held.children if child not in node.children}
        return held

    def _expression(
        self, edit: ReplaceExpression | RewriteArguments, old: cst.BaseExpression
    ) -> cst.BaseExpression:
        self.made.add(edit)
        if isinstance(edit, RewriteArguments):
            new = rewritten(edit, old, self.fragments)
        else:
            new = self.fragments.expression(edit.code)
        if self.quotes:
            new = requoted(new, self.quotes[-1])
        if old.lpar and not new.lpar:
            return new.with_changes(lpar=old.lpar, rpar=old.rpar)
        return parenthesized(new) if not self.brackets and goes_on(new) else new

    def _kept(self, span: Span) -> cst.BaseExpression:
        """The expression at `span` with the edits inside it."""
        if span in self.unedited:
            return self.unedited[span]
        if span not in self.updated:
            original = self.places.original.get(span)
            if original is None:
                raise EditError(f"no expression at {span}")
            quotes, self.quotes = self.quotes, []
            self.updated[span] = cast(cst.BaseExpression, original.visit(self))
            self.quotes = quotes
        return self.updated[span]

    # ------------------------------------------------------------------ blocks
    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        body, rest = self._body(original_node.body, updated_node.body)
        if rest:
            updated_node = updated_node.with_changes(footer=[*rest, *updated_node.footer])
        dropped = self.places.dropped_comments(*original_node.body[:1])
        header = without(updated_node.header, dropped)  # comments above the first statement
        return updated_node.with_changes(header=header, body=body)

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        body, rest = self._body(original_node.body, updated_node.body)
        if not body:
            body = [cst.SimpleStatementLine([cst.Pass()], leading_lines=comments_only(rest))]
            rest = []
        if rest:
            updated_node = updated_node.with_changes(footer=[*rest, *updated_node.footer])
        return updated_node.with_changes(body=body)

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If:
        """Take out an `elif` that is to go."""
        orelse = original_node.orelse
        edit = self.places.statement_edit(orelse) if isinstance(orelse, cst.If) else None
        if edit is None or edit.code not in (NOTHING, ALTERNATIVE):
            return updated_node
        self.made.add(edit)
        return updated_node.with_changes(orelse=getattr(updated_node.orelse, "orelse", None))

    def leave_SimpleStatementSuite(
        self, original_node: cst.SimpleStatementSuite, updated_node: cst.SimpleStatementSuite
    ) -> cst.BaseSuite:
        if not any(small in self.places.starts for small in original_node.body):
            return updated_node
        line = cst.SimpleStatementLine(
            original_node.body, trailing_whitespace=original_node.trailing_whitespace
        )
        new = cst.SimpleStatementLine(
            updated_node.body, trailing_whitespace=updated_node.trailing_whitespace
        )
        body, rest = self._body([line], [new])
        return cst.IndentedBlock(
            body or [cst.SimpleStatementLine([cst.Pass()])], footer=comments_only(rest)
        )

    def _body(
        self, originals: Sequence[cst.BaseStatement], updates: Sequence[cst.BaseStatement]
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        """The statements of a block after the edits, and the comment lines left at its end."""
        result: list[cst.BaseStatement] = []
        pending: list[cst.EmptyLine] = []
        moved: dict[Start, list[cst.BaseStatement]] = defaultdict(list)
        for original, updated in zip(originals, updates, strict=True):
            pieces, trailing = self._commented(original, updated)
            place = self.places.lines.get(original, _NOWHERE)
            move = self.places.moves.get(place)
            if move is not None:
                self.made.add(move)
                moved[move.below.line, move.below.col].extend(pieces)
                continue
            pieces = [*pieces, *moved.pop(place, [])]
            if pieces:
                pieces = _below(pending, pieces)
                pending = []
            else:
                pending = [*pending, *self._left_of(original, updated, bool(pending))]
            result.extend(pieces)
            pending = [*pending, *trailing]
        if result and originals and result[0] is not updates[0]:
            if not has_lines_above(originals[0]):
                result[0] = _first(result[0])
        return result, pending

    def _commented(
        self, original: cst.BaseStatement, updated: cst.BaseStatement
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        """What becomes of a statement, its comments kept, and comment lines that come below."""
        pieces, trailing = self._pieces(original, updated)
        if pieces and (pieces[0] is not updated or updated is not original):
            dropped = self.places.dropped_comments(original)
            pieces = keep_comments(original, pieces, trailing, dropped)
        return pieces, trailing

    def _left_of(
        self, original: cst.BaseStatement, updated: cst.BaseStatement, follows: bool
    ) -> list[cst.EmptyLine]:
        """The lines that are left of a statement that goes."""
        dropped = self.places.dropped_comments(original)
        above = list(cast(Statement, updated).leading_lines)
        lines = comments_only(above) if follows else above
        inline = [cst.EmptyLine(comment=comment) for comment in inline_comments(original)]
        return without([*lines, *inline], dropped)

    def _pieces(
        self, original: cst.BaseStatement, updated: cst.BaseStatement
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        if isinstance(original, cst.SimpleStatementLine):
            if not any(small in self.places.starts for small in original.body):
                return [self._fitted(original, updated)], []
            return self._split(original, cast(cst.SimpleStatementLine, updated)), []
        start = self.places.starts.get(original, _NOWHERE)
        left = self.places.items_left(original)
        if start is _NOWHERE and not left:
            return [updated], []
        lines = cast(Statement, updated).leading_lines
        trailing: list[cst.EmptyLine] = []
        middle: list[cst.BaseStatement] = [updated]
        edit = self.places.statements.get(start)
        if edit is not None:
            middle, trailing = self._replaced(edit, updated)
        elif left:
            column = self.places.columns[original]
            middle, trailing = self._without_items(cast(cst.With, updated), left, column)
        pieces = [*self._inserted(start, after=False), *middle, *self._inserted(start, after=True)]
        if pieces:
            pieces = self._led_apart(pieces, updated, lines)
        return pieces, trailing

    def _replaced(
        self, edit: ReplaceStatement, updated: cst.BaseStatement
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        """What takes the place of a compound statement, and comment lines that come below."""
        if ALTERNATIVE in parts_of(edit.code):
            body, trailing = alternative(updated)
        else:
            body, trailing = suite(getattr(updated, "body", None))
        return self._statements(edit, body), trailing

    def _without_items(
        self, updated: cst.With, left: dict[int, LeaveContext], column: int
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        """What a `with` statement becomes when the contexts of `left` are left out."""
        self.made |= set(left.values())

        def made(parts: Iterable[Part | None]) -> list[cst.BaseStatement]:
            new = (s for part in parts if part for s in self.fragments.statements(part))
            return [laid_out(s, self.indent, self.width - column, ()) for s in new]

        body, trailing = without_items(updated, set(left))
        above = made(edit.before for edit in left.values())
        below = made(edit.after for edit in left.values())
        if below and any(edit.guarded for edit in left.values()):
            return [*above, guarded(body, trailing, below)], []
        return [*above, *body, *below], trailing

    def _split(
        self, original: cst.SimpleStatementLine, updated: cst.SimpleStatementLine
    ) -> list[cst.BaseStatement]:
        """A line of small statements, some of them edited, as statements of their own."""
        pieces: list[cst.BaseStatement] = []
        kept: list[cst.BaseSmallStatement] = []

        def flush() -> None:
            if kept:
                last = kept[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
                line = cst.SimpleStatementLine([*kept[:-1], last])
                if kept[-1] is updated.body[-1]:
                    line = line.with_changes(trailing_whitespace=updated.trailing_whitespace)
                pieces.append(line)
                kept.clear()

        for small, new in zip(original.body, updated.body, strict=True):
            start = self.places.starts.get(small)
            if start is None:
                kept.append(new)
                continue
            before, after = self._inserted(start, after=False), self._inserted(start, after=True)
            edit = self.places.statements.get(start)
            if before or edit is not None:
                flush()
                pieces.extend(before)
            if edit is not None:
                pieces.extend(self._statements(edit, []))
            else:
                kept.append(new)
            if after:
                flush()
                pieces.extend(after)
        flush()
        return self._led_apart(pieces, updated, updated.leading_lines) if pieces else []

    def _inserted(self, start: Start, after: bool) -> list[cst.BaseStatement]:
        made: list[cst.BaseStatement] = []
        for edit in self.places.inserts.get(start, ()):
            if edit.after == after:
                made.extend(self._statements(edit, []))
        return made

    def _led_apart(
        self,
        pieces: list[cst.BaseStatement],
        updated: cst.BaseStatement,
        lines: Sequence[cst.EmptyLine],
    ) -> list[cst.BaseStatement]:
        """`pieces` below the `lines` that led the statement, with the gaps that edits ask for.

        Comments go with what comes first, or stay with the statement where a gap sets it apart.
        """
        pieces = [bare(p) if p is updated else p for p in pieces]
        blank = list(itertools.takewhile(lambda line: line.comment is None, lines))
        for index, piece in enumerate(pieces[:-1], 1):
            gap = self.gaps.get(piece, 0)
            if gap:
                above = [*[cst.EmptyLine(indent=False)] * gap, *lines[len(blank) :]]
                pieces[index] = led(pieces[index], above)
                lines = blank[:1]
        return [led(pieces[0], lines), *pieces[1:]]

    # ------------------------------------------------------------------ new statements
    def _statements(
        self, edit: ReplaceStatement | InsertStatements, body: list[cst.BaseStatement]
    ) -> list[cst.BaseStatement]:
        self.made.add(edit)
        made = self.fragments.statements(edit.code, body)
        kept = {id(statement) for statement in body}
        room = self.width - edit.span.col
        result: list[cst.BaseStatement] = [laid_out(s, self.indent, room, kept) for s in made]
        if isinstance(edit, InsertStatements) and result:
            blank = [cst.EmptyLine(indent=False)] * edit.blank_above
            lines = [*blank, *cast(Statement, result[0]).leading_lines]
            result[0] = cast(Statement, result[0]).with_changes(leading_lines=lines)
            self.gaps[result[-1]] = edit.blank_below
        return result

    def _fitted(
        self, original: cst.SimpleStatementLine, updated: cst.BaseStatement
    ) -> cst.BaseStatement:
        """`updated`, its new code broken up if it made a line too long."""
        if updated is original or not isinstance(updated, cst.SimpleStatementLine):
            return updated
        column = self.places.columns.get(original, 0)
        old = self._code(bare(original))
        room = max(self.width, column + max(map(len, old.splitlines()), default=0))
        layout = Layout(self.generated, self.indent, self.width - column, room - column)
        plain = cast(cst.SimpleStatementLine, bare(updated))
        fitted = layout.fit(plain)
        return updated if fitted is plain else led(fitted, updated.leading_lines)

    def _code(self, node: cst.CSTNode) -> str:
        return cst.Module([], default_indent=self.indent).code_for_node(node)


def _below(
    pending: list[cst.EmptyLine], pieces: list[cst.BaseStatement]
) -> list[cst.BaseStatement]:
    """`pieces` below the lines that statements above them have left."""
    if not pending:
        return pieces
    first = cast(Statement, pieces[0])
    own = list(first.leading_lines)
    if own and own[0].comment is None and not comments_only(pending):
        pending = []
    return [first.with_changes(leading_lines=[*pending, *own]), *pieces[1:]]


def _first(statement: cst.BaseStatement) -> cst.BaseStatement:
    """`statement` without the blank lines above it."""
    lines = list(cast(Statement, statement).leading_lines)
    while lines and lines[0].comment is None:
        del lines[0]
    return cast(Statement, statement).with_changes(leading_lines=lines)
