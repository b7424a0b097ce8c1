"""Edits as data, made: one pass of LibCST over a file, everything else left byte for byte."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from fsdp_migrate.findings.code import ALTERNATIVE, NOTHING, Kept, parts_of
from fsdp_migrate.findings.finding import (
    Edit,
    InsertStatements,
    MoveStatement,
    ReplaceExpression,
    ReplaceStatement,
)
from fsdp_migrate.rewriting.fragments import Fragments, Spelling
from fsdp_migrate.rewriting.line_breaks import Layout, laid_out
from fsdp_migrate.syntax.source import line_length
from fsdp_migrate.syntax.span import Span

_NOWHERE = (0, 0)
_INDENT = re.compile(r"^(?: {4})+", re.MULTILINE)  # as templates are indented
ORELSE = "{orelse}"  # the template that leaves what a statement does otherwise
Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
_LOOSE = (
    cst.Await,
    cst.BinaryOperation,
    cst.BooleanOperation,
    cst.Comparison,
    cst.IfExp,
    cst.Lambda,
    cst.NamedExpr,
    cst.UnaryOperation,
    cst.Yield,
)


class EditError(Exception):
    """An edit that does not fit the source: a defect of a rule."""


def apply_edits(text: str, edits: Iterable[Edit], spelling: Spelling | None = None) -> str:
    """`text` with all `edits` made.

    Raises:
        EditError: an edit names a place that the source doesn't have, or two edits collide.
    """
    module = cst.parse_module(text)
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    positions = wrapper.resolve(PositionProvider)
    renderer = _Renderer(module, list(edits), spelling)
    for node, place in positions.items():
        renderer.index(node, Span(place.start.line, place.start.column, *_end(place)))
        decorators = getattr(node, "decorators", ())
        above = positions[decorators[0]].start.line if decorators else place.start.line
        renderer.note_quiet(node, above, place.end.line)
    renderer.check()
    result = module.visit(renderer).code
    renderer.check_made()
    return result


def _end(place: object) -> tuple[int, int]:
    end = place.end  # type: ignore[attr-defined]
    return end.line, end.column


class _Renderer(cst.CSTTransformer):
    """Makes the edits on the way up, so that what an edit keeps already has its own edits."""

    def __init__(
        self, module: cst.Module, edits: list[Edit], spelling: Spelling | None = None
    ) -> None:
        super().__init__()
        self.config = module.config_for_parsing
        self.indent = module.default_indent
        self.width = line_length(module.code)  # a new call beyond it is broken up
        self.expressions: dict[Span, ReplaceExpression] = {}
        self.statements: dict[tuple[int, int], ReplaceStatement] = {}
        self.inserts: dict[tuple[int, int], list[InsertStatements]] = defaultdict(list)
        self.holes = {hole for edit in edits for hole in _kept_by(edit)}
        self.fragments = Fragments(self.config, cast(Spelling, spelling), self._kept, self.width)
        self.unedited: dict[Span, cst.BaseExpression] = {}  # where an edit keeps its own place
        self.original: dict[Span, cst.BaseExpression] = {}
        self.updated: dict[Span, cst.BaseExpression] = {}
        self.spans: dict[cst.CSTNode, Span] = {}
        self.starts: dict[cst.CSTNode, tuple[int, int]] = {}
        self.moves: dict[tuple[int, int], MoveStatement] = {}
        self.landings: set[tuple[int, int]] = set()
        self.lines: dict[cst.CSTNode, tuple[int, int]] = {}  # statements that move, or are passed
        self.found: set[Edit] = set()
        self.made: set[Edit] = set()
        self.columns: dict[cst.CSTNode, int] = {}
        self.generated: set[cst.CSTNode] = set()
        self.gaps: dict[cst.CSTNode, int] = {}  # blank lines after what a template made
        self.quotes: list[str] = []  # of the f-strings around the current node
        self.quiet: set[cst.CSTNode] = set()  # statements that nothing changes in
        for edit in edits:
            start = (edit.span.line, edit.span.col)
            if isinstance(edit, ReplaceExpression):
                if self.expressions.get(edit.span, edit) != edit:
                    raise EditError(f"two edits of the expression at {edit.span}")
                self.expressions[edit.span] = edit
            elif isinstance(edit, ReplaceStatement):
                if self.statements.get(start, edit) != edit:
                    raise EditError(f"two edits of the statement at {edit.span}")
                self.statements[start] = edit
            elif isinstance(edit, MoveStatement):
                if self.moves.get(start, edit) != edit:
                    raise EditError(f"two places for the statement at {edit.span}")
                self.moves[start] = edit
                self.landings.add((edit.below.line, edit.below.col))
            elif edit not in self.inserts[start]:
                self.inserts[start].append(edit)
        self.edits = edits

    # ------------------------------------------------------------------ finding the places
    def index(self, node: cst.CSTNode, span: Span) -> None:
        """Remember `node` if an edit is about it."""
        start = (span.line, span.col)
        if isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement) and (
            start in self.moves or start in self.landings
        ):
            self.lines[node] = start
            if start in self.moves:
                self.found.add(self.moves[start])
        if isinstance(node, cst.SimpleStatementLine):
            self.columns[node] = span.col
        elif isinstance(node, cst.BaseExpression):
            if span in self.expressions or span in self.holes:
                self.spans[node] = span
                self.original[span] = node
                if span in self.expressions:
                    self.found.add(self.expressions[span])
        elif isinstance(node, cst.BaseSmallStatement | cst.BaseCompoundStatement) and (
            start in self.statements or start in self.inserts
        ):
            self.starts[node] = start
            if start in self.statements:
                self.found.add(self.statements[start])
            self.found.update(self.inserts.get(start, ()))

    def note_quiet(self, node: cst.CSTNode, first: int, last: int) -> None:
        """Remember a statement (from line `first`, its decorators included) without any edit."""
        if isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement) and not any(
            edit.span.line <= last and first <= edit.span.end_line for edit in self.edits
        ):
            self.quiet.add(node)

    def check_made(self) -> None:
        """Complain about edits that were found and not made."""
        for edit in self.edits:
            if not isinstance(edit, MoveStatement) and edit not in self.made:
                raise EditError(f"not made at {edit.span}: {edit!r}")

    def check(self) -> None:
        """Complain about edits whose place wasn't found."""
        for edit in self.edits:
            if edit not in self.found:
                raise EditError(f"nothing to edit at {edit.span}: {edit!r}")

    def on_visit(self, node: cst.CSTNode) -> bool:
        return node not in self.quiet and super().on_visit(node)

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
        span = self.spans.get(original_node)
        if span is None:
            return result
        edit = self.expressions.get(span)
        node = cast(cst.BaseExpression, result)
        if edit is not None:
            self.unedited[span] = node
            node = self._expression(edit, node)
            del self.unedited[span]
            self.generated.add(node)
        self.updated[span] = node
        return cast(cst.CSTNodeT, node)

    def _expression(self, edit: ReplaceExpression, old: cst.BaseExpression) -> cst.BaseExpression:
        self.made.add(edit)
        if isinstance(edit.code, str):
            new = cst.parse_expression(_placeholders(edit.code, len(edit.holes)), self.config)
            if self.quotes:
                new = cast(cst.BaseExpression, new.visit(_Requote(self.quotes[-1])))
            new = cast(cst.BaseExpression, new.visit(_Fill(self._fillings(edit), None)))
        else:
            new = self.fragments.expression(edit.code)
            if self.quotes:
                new = cast(cst.BaseExpression, new.visit(_Requote(self.quotes[-1])))
        if old.lpar and not new.lpar:
            new = new.with_changes(lpar=old.lpar, rpar=old.rpar)
        return new

    def _kept(self, span: Span) -> cst.BaseExpression:
        """The expression at `span` with the edits inside it."""
        found = self.unedited.get(span) or self.updated.get(span) or self.original.get(span)
        if found is None:
            raise EditError(f"no expression at {span}")
        return found

    def _fillings(self, edit: Edit) -> list[cst.BaseExpression]:
        try:
            return [
                self.updated.get(hole) or self.original[hole] for hole in getattr(edit, "holes", ())
            ]
        except KeyError as error:
            raise EditError(f"no expression at {error.args[0]}") from error

    # ------------------------------------------------------------------ statements
    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        body, rest = self._body(original_node.body, updated_node.body)
        if rest:
            updated_node = updated_node.with_changes(footer=[*rest, *updated_node.footer])
        return updated_node.with_changes(body=body)

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        body, rest = self._body(original_node.body, updated_node.body)
        if not body:
            body = [cst.SimpleStatementLine([cst.Pass()], leading_lines=_comments_only(rest))]
            rest = []
        if rest:
            updated_node = updated_node.with_changes(footer=[*rest, *updated_node.footer])
        return updated_node.with_changes(body=body)

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If:
        """Take out an `elif` that is to go."""
        start = self.starts.get(original_node.orelse) if original_node.orelse else None
        edit = self.statements.get(start or _NOWHERE)
        if edit is None or edit.code not in ("", ORELSE, NOTHING, ALTERNATIVE):
            return updated_node
        self.made.add(edit)
        return updated_node.with_changes(orelse=getattr(updated_node.orelse, "orelse", None))

    def leave_SimpleStatementSuite(
        self, original_node: cst.SimpleStatementSuite, updated_node: cst.SimpleStatementSuite
    ) -> cst.BaseSuite:
        if not any(small in self.starts for small in original_node.body):
            return updated_node
        line = cst.SimpleStatementLine(
            original_node.body, trailing_whitespace=original_node.trailing_whitespace
        )
        new = cst.SimpleStatementLine(
            updated_node.body, trailing_whitespace=updated_node.trailing_whitespace
        )
        body, rest = self._body([line], [new])
        return cst.IndentedBlock(
            body or [cst.SimpleStatementLine([cst.Pass()])], footer=_comments_only(rest)
        )

    def _body(
        self, originals: Sequence[cst.BaseStatement], updates: Sequence[cst.BaseStatement]
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        """The statements of a block after the edits, and the comment lines left at its end."""
        result: list[cst.BaseStatement] = []
        pending: list[cst.EmptyLine] = []
        moved: dict[tuple[int, int], list[cst.BaseStatement]] = defaultdict(list)
        for original, updated in zip(originals, updates, strict=True):
            pieces, trailing = self._pieces(original, updated)
            if pieces and (pieces[0] is not updated or updated is not original):
                pieces = _keep_comments(original, pieces, trailing)
            move = self.moves.get(self.lines.get(original, _NOWHERE))
            if move is not None:
                moved[move.below.line, move.below.col].extend(pieces)
                continue
            pieces = [*pieces, *moved.pop(self.lines.get(original, _NOWHERE), [])]
            if pieces and pending:
                first = cast(Statement, pieces[0])
                own = list(first.leading_lines)
                if own and own[0].comment is None and not _comments_only(pending):
                    pending = []
                lines = [*pending, *own]
                pieces = [first.with_changes(leading_lines=lines), *pieces[1:]]
                pending = []
            elif not pieces:
                above = list(cast(Statement, updated).leading_lines)
                inline = [cst.EmptyLine(comment=c) for c in _inline_comments(original)]
                pending = (
                    [*pending, *above, *inline]
                    if not pending
                    else [*pending, *_comments_only(above), *inline]
                )
            result.extend(pieces)
            pending = [*pending, *trailing]
        if result and originals and result[0] is not updates[0] and not _kept(originals[0]):
            first = cast(Statement, result[0])
            lines = list(first.leading_lines)
            while lines and lines[0].comment is None:
                del lines[0]
            result[0] = first.with_changes(leading_lines=lines)
        return result, pending

    def _pieces(
        self, original: cst.BaseStatement, updated: cst.BaseStatement
    ) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
        if isinstance(original, cst.SimpleStatementLine):
            if not any(small in self.starts for small in original.body):
                return [self._fitted(original, updated)], []
            return self._split(original, cast(cst.SimpleStatementLine, updated)), []
        start = self.starts.get(original)
        if start is None:
            return [updated], []
        lines = cast(Statement, updated).leading_lines
        trailing: list[cst.EmptyLine] = []
        middle: list[cst.BaseStatement] = [updated]
        edit = self.statements.get(start)
        if edit is not None and edit.code in (ORELSE, ALTERNATIVE):
            self.made.add(edit)
            middle, trailing = _alternative(updated)
        elif edit is not None:
            body, trailing = _suite(getattr(updated, "body", None))
            middle = self._statements(edit, body)
        pieces = [*self._inserted(start, after=False), *middle, *self._inserted(start, after=True)]
        if pieces:
            pieces = self._led_apart(pieces, updated, lines)
        return pieces, trailing

    def _fitted(
        self, original: cst.SimpleStatementLine, updated: cst.BaseStatement
    ) -> cst.BaseStatement:
        """`updated`, its new calls an argument a line if they made a line too long."""
        if updated is original:
            return updated
        bare = cast(Statement, updated).with_changes(leading_lines=[])
        column = self.columns.get(original, 0)
        old = self._code(original.with_changes(leading_lines=[]))
        room = max(self.width, column + max(map(len, old.splitlines()), default=0))
        layout = Layout(self.generated, self.indent, self.width - column, room - column)
        if not isinstance(bare, cst.SimpleStatementLine):
            return updated
        fitted = layout.fit(bare)
        lines = cast(Statement, updated).leading_lines
        return updated if fitted is bare else fitted.with_changes(leading_lines=lines)

    def _code(self, node: cst.CSTNode) -> str:
        return cst.Module([], default_indent=self.indent).code_for_node(node)

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
            start = self.starts.get(small)
            if start is None:
                kept.append(new)
                continue
            before, after = self._inserted(start, after=False), self._inserted(start, after=True)
            edit = self.statements.get(start)
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

    def _inserted(self, start: tuple[int, int], after: bool) -> list[cst.BaseStatement]:
        made: list[cst.BaseStatement] = []
        for edit in self.inserts.get(start, ()):
            if edit.after == after:
                made.extend(self._statements(edit, []))
        return made

    def _led_apart(
        self,
        pieces: list[cst.BaseStatement],
        updated: cst.BaseStatement,
        lines: Sequence[cst.EmptyLine],
    ) -> list[cst.BaseStatement]:
        """`pieces` below the `lines` that led the statement, with the gaps that templates ask for.

        Comments go with what comes first, or stay with the statement where a gap sets it apart.
        """
        pieces = [_bare(p) if p is updated else p for p in pieces]
        blank = list(itertools.takewhile(lambda line: line.comment is None, lines))
        for index, piece in enumerate(pieces[:-1], 1):
            gap = self.gaps.get(piece, 0)
            if gap:
                above = [*[cst.EmptyLine(indent=False)] * gap, *lines[len(blank) :]]
                pieces[index] = _led(pieces[index], above)
                lines = blank[:1]
        return [_led(pieces[0], lines), *pieces[1:]]

    def _statements(
        self, edit: ReplaceStatement | InsertStatements, body: list[cst.BaseStatement]
    ) -> list[cst.BaseStatement]:
        self.made.add(edit)
        if not isinstance(edit.code, str):
            new = self.fragments.statements(edit.code, body)
            kept = {id(statement) for statement in body}
            return [laid_out(s, self.indent, self.width - edit.span.col, kept) for s in new]
        template = textwrap.dedent(edit.code)
        if self.indent != "    ":
            template = _INDENT.sub(lambda m: self.indent * (len(m[0]) // 4), template)
        text = template.strip("\n")
        if not text:
            return []
        lead = len(template) - len(template.lstrip("\n"))
        parsed = cst.parse_module(_placeholders(text, len(edit.holes)) + "\n", self.config)
        filled = parsed.visit(_Fill(self._fillings(edit), body))
        statements = list(filled.body)
        if filled.header and statements:
            first = statements[0]
            statements[0] = first.with_changes(leading_lines=[*filled.header, *first.leading_lines])
        room = self.width - edit.span.col
        made: list[cst.BaseStatement] = [
            laid_out(s, self.indent, room, ())
            if isinstance(s, cst.SimpleStatementLine) and s not in body
            else s
            for s in statements
        ]
        if lead:
            above = [*[cst.EmptyLine(indent=False)] * lead, *cast(Statement, made[0]).leading_lines]
            made[0] = cast(Statement, made[0]).with_changes(leading_lines=above)
        self.gaps[made[-1]] = max(0, len(template) - len(template.rstrip("\n")) - 1)
        return made


def _kept_by(edit: Edit) -> Iterator[Span]:
    """The places that an edit's code keeps expressions of."""
    if isinstance(edit, MoveStatement):
        return
    yield from edit.holes
    if not isinstance(edit.code, str):
        for part in parts_of(edit.code):
            yield from part.spans if isinstance(part, Kept) else ()


class _Requote(cst.CSTTransformer):
    """Gives strings the other quotes, for use inside an f-string (before Python 3.12)."""

    def __init__(self, taken: str) -> None:
        super().__init__()
        self.taken = taken

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.BaseExpression:
        if updated_node.quote != self.taken:
            return updated_node
        other = "'" if self.taken == '"' else '"'
        return updated_node.with_changes(value=f"{other}{updated_node.raw_value}{other}")


class _Fill(cst.CSTTransformer):
    """Puts the kept expressions and statements in the place of the placeholders."""

    def __init__(
        self, holes: list[cst.BaseExpression], body: list[cst.BaseStatement] | None
    ) -> None:
        super().__init__()
        self.holes = holes
        self.body = body
        self.used: set[int] = set()

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        if not original_node.value.startswith("__hole_"):
            return updated_node
        index = int(original_node.value.strip("_").removeprefix("hole_"))
        hole = self.holes[index]
        if index in self.used:
            return hole.deep_clone()
        self.used.add(index)
        return hole

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        return updated_node.with_changes(body=self._with_body(updated_node.body), indent=None)

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        return updated_node.with_changes(body=self._with_body(updated_node.body))

    def _with_body(self, statements: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
        result: list[cst.BaseStatement] = []
        for statement in statements:
            if self.body is not None and _is_body(statement):
                result.extend(self.body)
            else:
                result.append(statement)
        return result

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        return updated_node.with_changes(value=_tight(updated_node.value))

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        return updated_node.with_changes(func=_tight(updated_node.func))

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        return updated_node.with_changes(value=_tight(updated_node.value))

    def leave_UnaryOperation(
        self, original_node: cst.UnaryOperation, updated_node: cst.UnaryOperation
    ) -> cst.BaseExpression:
        inner = updated_node.expression
        binds_less = isinstance(
            inner, cst.BooleanOperation | cst.IfExp | cst.Lambda | cst.NamedExpr | cst.Yield
        )
        if isinstance(original_node.operator, cst.Not) and not binds_less:
            return updated_node
        return updated_node.with_changes(expression=_tight(inner))

    def leave_IfExp(self, original_node: cst.IfExp, updated_node: cst.IfExp) -> cst.IfExp:
        test = updated_node.test
        loose = isinstance(test, cst.IfExp | cst.Lambda | cst.NamedExpr)
        return updated_node.with_changes(test=_tight(test)) if loose else updated_node

    def leave_BooleanOperation(
        self, original_node: cst.BooleanOperation, updated_node: cst.BooleanOperation
    ) -> cst.BaseExpression:
        def side(node: cst.BaseExpression) -> cst.BaseExpression:
            loose = isinstance(node, cst.BooleanOperation | cst.IfExp | cst.Lambda | cst.NamedExpr)
            return _tight(node) if loose else node

        return updated_node.with_changes(
            left=side(updated_node.left), right=side(updated_node.right)
        )


def _placeholders(template: str, count: int) -> str:
    for index in range(count):
        template = template.replace(f"{{{index}}}", f"__hole_{index}__")
    return template.replace("{body}", "__body__")


def _is_body(statement: cst.BaseStatement) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return False
    small = statement.body[0]
    return (
        isinstance(small, cst.Expr)
        and isinstance(small.value, cst.Name)
        and small.value.value == "__body__"
    )


def _tight(node: cst.BaseExpression) -> cst.BaseExpression:
    """`node` in parentheses, if it needs them in front of a dot, a call or an operator."""
    if isinstance(node, _LOOSE) and not node.lpar:
        return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return node


def _suite(body: object) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
    """The statements of a suite, and the comment lines at its end."""
    if isinstance(body, cst.IndentedBlock):
        statements = list(body.body)
        comment = body.header.comment
        if comment is not None and statements:
            first = cast(Statement, statements[0])
            lines = [cst.EmptyLine(comment=comment), *first.leading_lines]
            statements[0] = first.with_changes(leading_lines=lines)
        return statements, list(body.footer)
    if isinstance(body, cst.SimpleStatementSuite):
        line = cst.SimpleStatementLine(body.body, trailing_whitespace=body.trailing_whitespace)
        return [line], []
    return [], []


def _alternative(
    statement: cst.BaseStatement,
) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
    """The `elif` of an `if`, as an `if`, or the statements of its `else`."""
    orelse = getattr(statement, "orelse", None)
    if isinstance(orelse, cst.If):
        return [orelse], []
    return _suite(getattr(orelse, "body", None))


def _bare(piece: cst.BaseStatement) -> cst.BaseStatement:
    return cast(Statement, piece).with_changes(leading_lines=[])


def _led(piece: cst.BaseStatement, lines: Sequence[cst.EmptyLine]) -> cst.BaseStatement:
    """`piece` below `lines` (and below what leads it already, if that is a comment)."""
    statement = cast(Statement, piece)
    own = [line for line in statement.leading_lines if line not in lines]
    return statement.with_changes(leading_lines=[*lines, *own])


def _kept(original: cst.BaseStatement) -> bool:
    """Whether blank lines above the first statement of a block are the author's."""
    lines = cast(Statement, original).leading_lines
    return bool(lines) and lines[0].comment is None


def _comments_only(lines: Sequence[cst.EmptyLine]) -> list[cst.EmptyLine]:
    return [line for line in lines if line.comment is not None]


class _CommentCollector(cst.CSTVisitor):
    def __init__(self) -> None:
        super().__init__()
        self.comments: list[cst.Comment] = []

    def visit_Comment(self, node: cst.Comment) -> None:
        self.comments.append(node)


def _comments(node: cst.CSTNode) -> list[cst.Comment]:
    collector = _CommentCollector()
    node.visit(collector)
    return collector.comments


def _inline_comments(statement: cst.BaseStatement) -> list[cst.Comment]:
    """The comments of a statement but for those on the lines above it."""
    above = Counter(
        line.comment.value for line in cast(Statement, statement).leading_lines if line.comment
    )
    result = []
    for comment in _comments(statement):
        if above[comment.value]:
            above[comment.value] -= 1
        else:
            result.append(comment)
    return result


def _keep_comments(
    original: cst.BaseStatement, pieces: list[cst.BaseStatement], later: list[cst.EmptyLine]
) -> list[cst.BaseStatement]:
    """Put comments that the edits would drop on lines above the statement."""
    left = Counter(c.value for node in [*pieces, *later] for c in _comments(node))
    lost: list[cst.Comment] = []
    for comment in _comments(original):
        if left[comment.value]:
            left[comment.value] -= 1
        else:
            lost.append(comment)
    if not lost:
        return pieces
    last = pieces[-1]
    trailing = getattr(original, "trailing_whitespace", None)
    if (
        isinstance(last, cst.SimpleStatementLine)
        and last.trailing_whitespace.comment is None
        and isinstance(trailing, cst.TrailingWhitespace)
        and any(comment is trailing.comment for comment in lost)
    ):
        lost = [comment for comment in lost if comment is not trailing.comment]
        pieces = [*pieces[:-1], last.with_changes(trailing_whitespace=trailing)]
    first = cast(Statement, pieces[0])
    lines = [*first.leading_lines, *(cst.EmptyLine(comment=c) for c in lost)]
    return [first.with_changes(leading_lines=lines), *pieces[1:]]
