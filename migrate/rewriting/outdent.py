"""Lines of an expression that stood further in than the statement that it is in now."""

from __future__ import annotations

from typing import cast

import libcst as cst

CLOSING = ")]}"


def outdented(statement: cst.BaseStatement) -> cst.BaseStatement:
    """A statement whose last line, which closes a bracket, begins where the first one does."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return statement
    lines = cst.Module([statement.with_changes(leading_lines=[])]).code.splitlines()
    last = lines[-1] if lines else ""
    surplus = len(last) - len(last.lstrip(" "))
    if len(lines) < 2 or not surplus or last.lstrip()[0] not in CLOSING:
        return statement
    return cast(cst.BaseStatement, statement.visit(_Outdent(surplus)))


class _Outdent(cst.CSTTransformer):
    """Takes blanks away from the beginning of continuation lines."""

    def __init__(self, surplus: int) -> None:
        super().__init__()
        self.surplus = surplus

    def leave_ParenthesizedWhitespace(
        self,
        original_node: cst.ParenthesizedWhitespace,
        updated_node: cst.ParenthesizedWhitespace,
    ) -> cst.ParenthesizedWhitespace:
        if not updated_node.indent:
            return updated_node
        comments = [
            line.with_changes(whitespace=self._less(line.whitespace)) if line.indent else line
            for line in updated_node.empty_lines
        ]
        return updated_node.with_changes(
            empty_lines=comments, last_line=self._less(updated_node.last_line)
        )

    def _less(self, blanks: cst.SimpleWhitespace) -> cst.SimpleWhitespace:
        text = blanks.value
        less = text[self.surplus :] if text[: self.surplus].isspace() else text
        return blanks.with_changes(value=less if "\\" not in text else text)
