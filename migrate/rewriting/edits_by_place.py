"""The edits of a file by the places that they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from fsdp_migrate.findings.edits import (
    Decorate,
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
_Place = TypeVar("_Place", bound=Hashable)
_Edit = TypeVar("_Edit", bound=Edit)


class EditError(Exception):
    """An edit that does not fit the source: a defect of a rule."""


@dataclass
class EditsByPlace:
    """The edits of a file, each once, by what they are about.

    Raises:
        EditError: two edits are about one place.
    """

    edits: tuple[Edit, ...]
    expressions: dict[Span, ReplaceExpression | RewriteArguments] = field(default_factory=dict)
    statements: dict[Start, ReplaceStatement] = field(default_factory=dict)
    inserts: dict[Start, list[InsertStatements]] = field(default_factory=lambda: defaultdict(list))
    decorations: dict[Start, Decorate] = field(default_factory=dict)  # by the function
    moves: dict[Start, MoveStatement] = field(default_factory=dict)
    landings: set[Start] = field(default_factory=set)  # where moved statements go
    leaves: dict[Span, LeaveContext] = field(default_factory=dict)  # by the context
    kept: frozenset[Span] = frozenset()  # what the new code keeps

    def __post_init__(self) -> None:
        self.edits = tuple(dict.fromkeys(self.edits))
        self.kept = frozenset(span for edit in self.edits for span in kept_by(edit))
        for edit in self.edits:
            start = start_of(edit.span)
            if isinstance(edit, ReplaceExpression | RewriteArguments):
                _put(self.expressions, edit.span, edit)
            elif isinstance(edit, ReplaceStatement):
                _put(self.statements, start, edit)
            elif isinstance(edit, LeaveContext):
                _put(self.leaves, edit.span, edit)
            elif isinstance(edit, Decorate):
                _put(self.decorations, start, edit)
            elif isinstance(edit, MoveStatement):
                _put(self.moves, start, edit)
                self.landings.add(start_of(edit.below))
            elif isinstance(edit, InsertStatements):
                self.inserts[start].append(edit)
            else:
                raise EditError(f"{edit} has not been given a place in the file")


def start_of(span: Span) -> Start:
    """Where a span begins: statements are known by that alone."""
    return span.line, span.col


def lines_of(edits: Iterable[Edit]) -> list[tuple[int, int]]:
    """The first and the last line of each place that an edit is about."""
    lines = [(edit.span.line, edit.span.end_line) for edit in edits]
    moves = [edit.below for edit in edits if isinstance(edit, MoveStatement)]
    return [*lines, *((below.line, below.end_line) for below in moves)]


def _put(found: dict[_Place, _Edit], place: _Place, edit: _Edit) -> None:
    if found.setdefault(place, edit) != edit:
        raise EditError(f"two edits at {place}: {found[place]} and {edit}")
