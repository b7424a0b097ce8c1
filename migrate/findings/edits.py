"""Edits as data: what becomes of one place of a file, the new code that comes in, and what is kept.

Whoever makes a fix says what is to change, never how: the rewriting makes the edits of a file.
"""

from __future__ import annotations

from dataclasses import dataclass

from fsdp_migrate.findings.code import Code, Kept, Part, parts_of
from fsdp_migrate.syntax.span import Span


@dataclass(frozen=True)
class Import:
    """A name that an edit needs: `from module import name`, or `import module` without a name."""

    module: str
    name: str | None = None
    alias: str | None = None

    @property
    def local(self) -> str:
        """The name by which the file refers to it."""
        return self.alias or self.name or self.module.partition(".")[0]


@dataclass(frozen=True)
class ReplaceExpression:
    """Put new code in the place of the expression at `span`.

    The code may keep the expression itself, as `{kept}.full_tensor()` does.
    """

    span: Span
    code: Part


@dataclass(frozen=True)
class TakenFrom:
    """Which argument of the source, counted from 0, an argument of the new call is."""

    index: int
    with_value: bool = True  # False: only its place is taken, the value is another


@dataclass(frozen=True)
class RewriteArguments:
    """Make the call, or the dict display, at `span` that of `code`, which is a call or a display.

    What is taken from the source keeps its lines and comments; `taken` says by argument of
    the code where it stood, or None for a new one.  Those taken keep their order.  Comments
    above an argument that goes stay, but for those `without_comments`, which speak of it.
    """

    span: Span
    code: Code
    taken: tuple[TakenFrom | None, ...]
    without_comments: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ReplaceStatement:
    """Put the statements of `code` (none, if it is `NOTHING`) in the place of the one at `span`.

    `BODY` in the code stands for the body of a compound statement, comments and edits inside
    it included, and the code `ALTERNATIVE` for the `elif` or `else` of an `if`.  Comments of
    the statement stay, but for those `without_comments`, which speak of what is gone.
    """

    span: Span
    code: Part
    without_comments: frozenset[str] = frozenset()


@dataclass(frozen=True)
class InsertStatements:
    """Put the statements of `code` before (or after) the statement at `span`."""

    span: Span
    code: Part
    after: bool = False
    blank_above: int = 0  # lines
    blank_below: int = 0


@dataclass(frozen=True)
class Define:
    """Define the function of `code` in the file, once, for the statement at `span` to call.

    The definition stands at the top level, above the first of the statements that ask for it.
    """

    span: Span
    code: Code


@dataclass(frozen=True)
class Decorate:
    """Put the decorator that `code` is on the function whose statement is at `span`.

    It stands below those that are there.
    """

    span: Span
    code: Part


@dataclass(frozen=True)
class LeaveContext:
    """Take the item whose context is the expression at `span` out of its `with` statement.

    The statements of `before` stand above the body then, those of `after` below it, in a
    `finally` where one item of the statement is `guarded`.  Items are taken out one by one: what
    the rules want of one `with` statement is put together.  The body and the other items stay,
    edits inside them included; a `with` statement without any item left is its body.
    """

    span: Span
    before: Part | None = None
    after: Part | None = None
    guarded: bool = False


@dataclass(frozen=True)
class MoveStatement:
    """Take the statement at `span` below the one at `below`, a later one of the same block.

    Its comments go with it, and the edits made inside it.  Several that go below the same
    statement keep their order.
    """

    span: Span
    below: Span


@dataclass(frozen=True)
class Respell:
    """Put other words for the same in the place of those at `span`, before all other edits."""

    span: Span
    text: str


Edit = (
    ReplaceExpression
    | RewriteArguments
    | ReplaceStatement
    | InsertStatements
    | Define
    | Decorate
    | LeaveContext
    | MoveStatement
    | Respell
)


def codes(edit: Edit) -> tuple[Part, ...]:
    """The new code that an edit brings in."""
    if isinstance(edit, LeaveContext):
        return tuple(part for part in (edit.before, edit.after) if part is not None)
    return () if isinstance(edit, MoveStatement | Respell) else (edit.code,)


def kept_by(edit: Edit) -> list[Span]:
    """The places that the code of an edit keeps expressions of."""
    kept = (p for code in codes(edit) for p in parts_of(code) if isinstance(p, Kept))
    return [span for part in kept for span in part.spans]
