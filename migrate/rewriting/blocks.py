"""Blocks of statements whose edits are made: what comes, goes and moves, with its comments."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import libcst as cst

from fsdp_migrate.findings.code import ALTERNATIVE, parts_of
from fsdp_migrate.findings.edits import InsertStatements, LeaveContext, ReplaceStatement
from fsdp_migrate.rewriting.comments import (
    APART,
    Statement,
    alternative,
    bare,
    comments_only,
    has_lines_above,
    inline_comments,
    keep_comments,
    led,
    set_apart,
    suite,
    without,
)
from fsdp_migrate.rewriting.edits_by_place import Start, start_of
from fsdp_migrate.rewriting.new_statements import NewStatements
from fsdp_migrate.rewriting.places import Places
from fsdp_migrate.rewriting.with_items import guarded, without_items

_NOWHERE = (0, 0)


class Blocks:
    """Puts blocks together again, when the edits inside their statements are made."""

    def __init__(self, places: Places, new: NewStatements) -> None:
        self.places = places
        self.new = new

    def body(
        self, originals: Sequence[cst.BaseStatement], updates: Sequence[cst.BaseStatement]
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        """The statements of a block after the edits, and the comment lines left at its end."""
        result: list[cst.BaseStatement] = []
        pending: list[cst.EmptyLine] = []
        moved: dict[Start, list[cst.BaseStatement]] = defaultdict(list)
        for original, updated in zip(originals, updates, strict=True):
            pieces, trailing = self._commented(original, updated)
            place = self.places.lines.get(original, _NOWHERE)
            move = self.places.edits.moves.get(place)
            if move is not None:
                self.places.made.add(move)
                moved[start_of(move.below)].extend(pieces)
                continue
            pieces = [*pieces, *moved.pop(place, [])]
            if pieces:
                pieces = _below(pending, pieces)
                pending = []
                if self._is_new_function(original, pieces):
                    pieces[0] = set_apart(pieces[0]) if result else pieces[0]
                    trailing = trailing if original is originals[-1] else [*trailing, *APART]
            else:
                pending = [*pending, *self._left_of(original, updated, bool(pending))]
            result.extend(pieces)
            pending = [*pending, *trailing]
        if result and originals and result[0] is not updates[0]:
            if not has_lines_above(originals[0]):
                result[0] = _first(result[0])
        return result, pending

    def _is_new_function(
        self, original: cst.BaseStatement, pieces: Sequence[cst.BaseStatement]
    ) -> bool:
        """Whether a function takes the place of a line at the top level of the file."""
        is_line = isinstance(original, cst.SimpleStatementLine)
        made = len(pieces) == 1 and isinstance(pieces[0], cst.FunctionDef)
        return is_line and made and self.places.columns.get(original) == 0

    def _commented(
        self, original: cst.BaseStatement, updated: cst.BaseStatement
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        """What becomes of a statement, its comments kept, and comment lines that come below."""
        pieces, trailing = self._pieces(original, updated)
        if pieces and (pieces[0] is not updated or updated is not original):
            dropped = self.places.dropped_comments(original)
            inside = self.places.dropped_inside(original)
            pieces = keep_comments(original, pieces, trailing, dropped, inside)
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
                column = self.places.columns.get(original, 0)
                return [self.new.fitted(original, updated, column)], []
            return self._split(original, cast(cst.SimpleStatementLine, updated)), []
        start = self.places.starts.get(original, _NOWHERE)
        left = self.places.items_left(original)
        if start is _NOWHERE and not left:
            return [updated], []
        lines = cast(Statement, updated).leading_lines
        trailing: list[cst.EmptyLine] = []
        middle: list[cst.BaseStatement] = [updated]
        edit = self.places.edits.statements.get(start)
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
        return self._made(edit, body), trailing

    def _without_items(
        self, updated: cst.With, left: dict[int, LeaveContext], column: int
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        """What a `with` statement becomes when the contexts of `left` are left out."""
        self.places.made.update(left.values())

        body, trailing = without_items(updated, set(left))
        above = self.new.of_parts((edit.before for edit in left.values()), column)
        below = self.new.of_parts((edit.after for edit in left.values()), column)
        if below and any(edit.guarded for edit in left.values()):
            return [*above, guarded(body, trailing, below)], []
        return [*above, *body, *below], trailing

    def _split(
        self, original: cst.SimpleStatementLine, updated: cst.SimpleStatementLine
    ) -> list[cst.BaseStatement]:
        """A line of small statements, some of them edited, as statements of their own."""
        pieces: list[cst.BaseStatement] = []
        kept: list[cst.BaseSmallStatement] = []
        column = self.places.columns.get(original, 0)

        def flush(apart: bool = True) -> None:
            for some in [[small] for small in kept] if apart else [kept] if kept else []:
                last = some[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
                line = cst.SimpleStatementLine([*some[:-1], last])
                if some[-1] is updated.body[-1]:
                    line = line.with_changes(trailing_whitespace=updated.trailing_whitespace)
                pieces.append(self.new.fitted(original, line, column))
            kept.clear()

        for small, new in zip(original.body, updated.body, strict=True):
            start = self.places.starts.get(small)
            if start is None:
                kept.append(new)
                continue
            before = self._inserted(start, after=False, column=column)
            after = self._inserted(start, after=True, column=column)
            edit = self.places.edits.statements.get(start)
            if before or edit is not None:
                flush()
                pieces.extend(before)
            if edit is not None:
                pieces.extend(self._made(edit, column=column))
            else:
                kept.append(new)
            if after:
                flush()
                pieces.extend(after)
        flush(apart=False)
        return self._led_apart(pieces, updated, updated.leading_lines) if pieces else []

    def _inserted(
        self, start: Start, after: bool, column: int | None = None
    ) -> list[cst.BaseStatement]:
        inserts = [e for e in self.places.edits.inserts.get(start, ()) if e.after == after]
        return [s for edit in inserts for s in self._made(edit, column=column)]

    def _made(
        self,
        edit: ReplaceStatement | InsertStatements,
        body: Sequence[cst.BaseStatement] = (),
        column: int | None = None,
    ) -> list[cst.BaseStatement]:
        self.places.made.add(edit)
        return self.new.of(edit, body, edit.span.col if column is None else column)

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
        gaps = {i: self.new.gaps.get(piece, 0) for i, piece in enumerate(pieces[:-1], 1)}
        apart = [index for index, gap in gaps.items() if gap]
        for index in apart:
            above = [cst.EmptyLine(indent=False)] * gaps[index]
            comments = lines[len(blank) :] if index == apart[-1] else ()
            pieces[index] = led(pieces[index], [*above, *comments])
        if apart:
            lines = [*blank[:1], *cast(Statement, pieces[0]).leading_lines]
        return [led(pieces[0], lines), *pieces[1:]]


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
