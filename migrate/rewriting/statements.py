"""Edits as data, made: one pass of LibCST over what changes, all else left byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import libcst as cst
from libcst.metadata import CodePosition, CodeRange, MetadataWrapper, PositionProvider

from fsdp_migrate.findings.code import ALTERNATIVE, NOTHING
from fsdp_migrate.findings.edits import Edit
from fsdp_migrate.findings.spelling import Spelling
from fsdp_migrate.rewriting.blocks import Blocks
from fsdp_migrate.rewriting.comments import comments_only, without
from fsdp_migrate.rewriting.edits_by_place import EditsByPlace
from fsdp_migrate.rewriting.excerpt import Excerpt, excerpt_for
from fsdp_migrate.rewriting.expressions import ExpressionEdits
from fsdp_migrate.rewriting.new_statements import NewStatements
from fsdp_migrate.rewriting.places import Places
from fsdp_migrate.syntax.source import line_length


def apply_edits(text: str, edits: Iterable[Edit], spelling: Spelling, width: int = 0) -> str:
    """`text` with all `edits` made; `spelling` tells how the file calls what they name.

    New code is broken up beyond `width`, which is that of the longest lines if it isn't given.

    Raises:
        EditError: an edit names a place that the source doesn't have, or two edits collide.
    """
    by_place = EditsByPlace(tuple(edits))
    excerpt = excerpt_for(text, by_place.edits)
    module = cst.parse_module(excerpt.text)
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    positions = _in_file(wrapper.resolve(PositionProvider), excerpt)
    places = Places.of(by_place, positions)
    result = module.visit(_Renderer(module, places, spelling, width or line_length(text))).code
    places.complain_unless_made()
    return excerpt.put_back(result)


def _in_file(
    positions: Mapping[cst.CSTNode, CodeRange], excerpt: Excerpt
) -> dict[cst.CSTNode, CodeRange]:
    """Where the nodes of an excerpt stand in the file."""

    def moved(place: CodePosition) -> CodePosition:
        return CodePosition(excerpt.line(place.line), place.column)

    return {node: CodeRange(moved(at.start), moved(at.end)) for node, at in positions.items()}


class _Renderer(ExpressionEdits):
    """Makes the edits on the way up: of expressions, then of the blocks that they stand in."""

    def __init__(self, module: cst.Module, places: Places, spelling: Spelling, width: int) -> None:
        super().__init__(module, places, spelling, width)
        self.blocks = Blocks(places, NewStatements(module, self.fragments, self.generated))

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        body, rest = self.blocks.body(original_node.body, updated_node.body)
        if rest:
            updated_node = updated_node.with_changes(footer=[*rest, *updated_node.footer])
        dropped = self.places.dropped_comments(*original_node.body[:1])
        header = without(updated_node.header, dropped)  # comments above the first statement
        return updated_node.with_changes(header=header, body=body)

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        body, rest = self.blocks.body(original_node.body, updated_node.body)
        if not body:
            body = [cst.SimpleStatementLine([cst.Pass()], leading_lines=comments_only(rest))]
            rest = []
        if rest:
            updated_node = updated_node.with_changes(footer=[*rest, *updated_node.footer])
        return updated_node.with_changes(body=body)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        edit = self.places.decorated.get(original_node)
        if edit is None:
            return updated_node
        self.places.made.add(edit)
        decorator = cst.Decorator(self.fragments.expression(edit.code))
        return updated_node.with_changes(decorators=[*updated_node.decorators, decorator])

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If:
        """Take out an `elif` that is to go."""
        orelse = original_node.orelse
        edit = self.places.statement_edit(orelse) if isinstance(orelse, cst.If) else None
        if edit is None or edit.code not in (NOTHING, ALTERNATIVE):
            return updated_node
        self.places.made.add(edit)
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
        body, rest = self.blocks.body([line], [new])
        return cst.IndentedBlock(
            body or [cst.SimpleStatementLine([cst.Pass()])], footer=comments_only(rest)
        )
