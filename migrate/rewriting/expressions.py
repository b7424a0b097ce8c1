"""Expressions that edits replace or keep, made on the way up a file's LibCST tree."""

from __future__ import annotations

from typing import cast

import libcst as cst

from fsdp_migrate.findings.edits import ReplaceExpression, RewriteArguments
from fsdp_migrate.findings.spelling import Spelling
from fsdp_migrate.rewriting.argument_lists import rewritten
from fsdp_migrate.rewriting.edits_by_place import EditError
from fsdp_migrate.rewriting.fragments import Fragments, goes_on, has_brackets, requoted
from fsdp_migrate.rewriting.parentheses import generators_apart, held_together, parenthesized
from fsdp_migrate.rewriting.places import Places
from fsdp_migrate.syntax.span import Span


class ExpressionEdits(cst.CSTTransformer):
    """Makes the edits of expressions; what one keeps from elsewhere is made when it is met."""

    def __init__(self, module: cst.Module, places: Places, spelling: Spelling, width: int) -> None:
        super().__init__()
        self.places = places
        self.fragments = Fragments(module.config_for_parsing, spelling, self._kept, width=width)
        self.updated: dict[Span, cst.BaseExpression] = {}  # what edits keep, edited
        self.unedited: dict[Span, cst.BaseExpression] = {}  # where an edit keeps its own place
        self.generated: set[cst.CSTNode] = set()
        self.brackets = 0  # around the current node
        self.quotes: list[str] = []  # of the f-strings around the current node

    def on_visit(self, node: cst.CSTNode) -> bool:
        self.brackets += has_brackets(node)
        return node not in self.places.quiet and super().on_visit(node)

    def visit_FormattedString(self, node: cst.FormattedString) -> None:
        self.quotes.append(node.start[-1])

    def leave_FormattedString(
        self, original_node: cst.FormattedString, updated_node: cst.FormattedString
    ) -> cst.BaseExpression:
        self.quotes.pop()
        return updated_node

    def leave_FormattedStringExpression(
        self,
        original_node: cst.FormattedStringExpression,
        updated_node: cst.FormattedStringExpression,
    ) -> cst.FormattedStringExpression | cst.FlattenSentinel[cst.BaseFormattedStringContent]:
        """`{old=}`, which shows how the value is written, goes on showing that."""
        before, equal = original_node.expression, original_node.equal
        if equal is None or updated_node.expression.deep_equals(before):
            return updated_node
        shown = cst.Module([]).code_for_node
        text = f"{shown(original_node.whitespace_before_expression)}{shown(before)}{shown(equal)}"
        bare = original_node.format_spec is None and original_node.conversion is None
        value = updated_node.with_changes(
            equal=None,
            whitespace_before_expression=cst.SimpleWhitespace(""),
            conversion="r" if bare else original_node.conversion,
        )
        label = cst.FormattedStringText(text.replace("{", "{{").replace("}", "}}"))
        return cst.FlattenSentinel([label, value])

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
        edit = self.places.edits.expressions.get(span)
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
        self.places.made.add(edit)
        if isinstance(edit, RewriteArguments):
            new = rewritten(edit, old, self.fragments)
        else:
            new = self.fragments.expression(edit.code)
        if self.quotes:
            new = requoted(new, self.quotes[-1])
        if old.lpar and not new.lpar and not isinstance(old, cst.Tuple):
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
