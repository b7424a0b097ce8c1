"""Statements of new code, and the layout of what new code has made too long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import libcst as cst

from fsdp_migrate.findings.code import Part
from fsdp_migrate.findings.edits import InsertStatements, ReplaceStatement
from fsdp_migrate.rewriting.comments import Statement, bare, led
from fsdp_migrate.rewriting.fragments import Fragments
from fsdp_migrate.rewriting.line_breaks import Layout, laid_out
from fsdp_migrate.rewriting.outdent import outdented


class NewStatements:
    """Makes the statements that come into a file, each line as long as lines may be there.

    `generated` are the expressions that edits have made: what a line may be broken up for.
    """

    def __init__(
        self, module: cst.Module, fragments: Fragments, generated: set[cst.CSTNode]
    ) -> None:
        self.fragments = fragments
        self.generated = generated
        self.indent = module.default_indent
        self.width = fragments.width
        self.gaps: dict[cst.CSTNode, int] = {}  # blank lines below inserted statements

    def of(
        self,
        edit: ReplaceStatement | InsertStatements,
        body: Sequence[cst.BaseStatement],
        column: int,
    ) -> list[cst.BaseStatement]:
        """The statements of an edit; `body` are those of the statement that it replaces."""
        kept = {id(statement) for statement in body}
        room = self.width - column
        made = self.fragments.statements(edit.code, body)
        result: list[cst.BaseStatement] = [
            s if id(s) in kept else outdented(laid_out(s, self.indent, room, kept)) for s in made
        ]
        if isinstance(edit, InsertStatements) and result:
            blank = [cst.EmptyLine(indent=False)] * edit.blank_above
            first = cast(Statement, result[0])
            result[0] = first.with_changes(leading_lines=[*blank, *first.leading_lines])
            self.gaps[result[-1]] = edit.blank_below
        return result

    def of_parts(self, parts: Iterable[Part | None], column: int) -> list[cst.BaseStatement]:
        """The statements of several pieces of code, at a column."""
        made = (s for part in parts if part is not None for s in self.fragments.statements(part))
        return [laid_out(s, self.indent, self.width - column, ()) for s in made]

    def fitted(
        self, original: cst.BaseStatement, updated: cst.BaseStatement, column: int
    ) -> cst.BaseStatement:
        """`updated`, its new code broken up if it made a line of the statement too long."""
        if updated is original or not isinstance(updated, cst.SimpleStatementLine):
            return updated
        old = cst.Module([], default_indent=self.indent).code_for_node(bare(original))
        room = max(self.width, column + max(map(len, old.splitlines()), default=0))
        layout = Layout(self.generated, self.indent, self.width - column, room - column)
        plain = cast(cst.SimpleStatementLine, bare(updated))
        fitted = layout.fit(plain)
        return updated if fitted is plain else led(fitted, updated.leading_lines)
