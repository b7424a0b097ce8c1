"""The tree that a file's edits mean, made without any text.

The same edits are made twice: here on Python's own tree, and by `statements` on the source.
What the second gives has to parse to what the first gives; and what a file will import follows
from the tree, before a character of the file is written.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from fsdp_migrate.findings.code import (
    ALTERNATIVE,
    NOTHING,
    Code,
    Element,
    Hole,
    Item,
    Kept,
    KeptBody,
    Keyword,
    Literal,
    Part,
    Quoted,
    Starred,
)
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
from fsdp_migrate.findings.spelling import Spelling
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Span

_Node = TypeVar("_Node", bound=ast.AST)
Start = tuple[int, int]


def meant(module: Module, edits: Iterable[Edit], spelling: Spelling) -> ast.Module:
    """The tree of `module` with `edits` made; what no edit is about is shared with the old one."""
    return _Builder(module, tuple(edits), spelling).tree()


def same(one: ast.AST, other: ast.AST) -> bool:
    """Whether two trees say the same."""
    return ast.dump(one) == ast.dump(other)


@dataclass
class _Builder:
    module: Module
    edits: tuple[Edit, ...]
    spelling: Spelling
    expressions: dict[Span, ReplaceExpression | RewriteArguments] = field(default_factory=dict)
    statements: dict[Start, ReplaceStatement] = field(default_factory=dict)
    inserts: dict[Start, list[InsertStatements]] = field(default_factory=lambda: defaultdict(list))
    moves: dict[Start, MoveStatement] = field(default_factory=dict)
    leaves: dict[Span, LeaveContext] = field(default_factory=dict)
    lines: list[tuple[int, int]] = field(default_factory=list)
    inside: list[Span] = field(default_factory=list)  # edits that are being made
    others: dict[int, ast.expr] = field(default_factory=dict)  # instead of nodes, by their ids
    body: list[ast.stmt] = field(default_factory=list)  # of the statement that is replaced
    alternative: list[ast.stmt] = field(default_factory=list)

    def __post_init__(self) -> None:
        for edit in self.edits:
            start = (edit.span.line, edit.span.col)
            self.lines.append((edit.span.line, edit.span.end_line))
            if isinstance(edit, ReplaceExpression | RewriteArguments):
                self.expressions[edit.span] = edit
            elif isinstance(edit, ReplaceStatement):
                self.statements[start] = edit
            elif isinstance(edit, MoveStatement):
                self.moves[start] = edit
                self.lines.append((edit.below.line, edit.below.end_line))
            elif isinstance(edit, LeaveContext):
                self.leaves[edit.span] = edit
            elif edit not in self.inserts[start]:
                self.inserts[start].append(edit)
        wanted = {span for edit in self.edits for span in kept_by(edit)}
        self.lines += [(span.line, span.end_line) for span in wanted]
        self.kept: Mapping[Span, ast.expr] = _found(self.module, wanted)

    def tree(self) -> ast.Module:
        return self.of(self.module.tree)

    # ------------------------------------------------------------------ the old tree
    def of(self, node: _Node) -> _Node:
        """`node` with the edits inside it made, or itself if there are none."""
        if id(node) in self.others:
            return cast(_Node, self.others[id(node)])
        if not self._concerns(node):
            return node
        if isinstance(node, ast.expr):
            span = self.module.span(node)
            edit = self.expressions.get(span)
            if edit is not None and span not in self.inside:
                self.inside.append(span)
                made = self.expression(edit.code)
                self.inside.pop()
                return cast(_Node, _in_context(made, getattr(node, "ctx", None)))
        changed: dict[str, object] = {}
        for name, value in ast.iter_fields(node):
            new = self._field(value)
            if new is not value:
                changed[name] = new
        return _copied(node, changed) if changed else node

    def _concerns(self, node: ast.AST) -> bool:
        first = getattr(node, "lineno", None)
        if first is None:
            return True
        for decorator in getattr(node, "decorator_list", ()):
            first = min(first, decorator.lineno)
        last = getattr(node, "end_lineno", first)
        return any(start <= last and first <= end for start, end in self.lines)

    def _field(self, value: object) -> object:
        if isinstance(value, ast.AST):
            return self.of(value)
        if not isinstance(value, list) or not value:
            return value
        if isinstance(value[0], ast.stmt):
            return self._block(value)
        new = [self.of(item) if isinstance(item, ast.AST) else item for item in value]
        return value if all(a is b for a, b in zip(new, value, strict=True)) else new

    def _block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        moved: dict[Start, list[ast.stmt]] = defaultdict(list)
        for statement in statements:
            span = self.module.span(statement)
            start = (span.line, span.col)
            pieces = self._statement(statement, start)
            move = self.moves.get(start)
            if move is not None:
                moved[move.below.line, move.below.col].extend(pieces)
                continue
            result += [*pieces, *moved.pop(start, [])]
        if len(result) == len(statements) and all(
            new is old for new, old in zip(result, statements, strict=True)
        ):
            return statements
        if not result and statements is not self.module.tree.body:
            return [] if self._is_elif(statements[0]) else [ast.Pass()]
        return result

    def _statement(self, statement: ast.stmt, start: Start) -> list[ast.stmt]:
        edit = self.statements.get(start)
        made: list[ast.stmt]
        if edit is None:
            made = self._without_items(statement)
        elif self._is_elif(statement) and edit.code in (NOTHING, ALTERNATIVE):
            made = self._block(statement.orelse) if statement.orelse else []  # type: ignore[attr-defined]
        else:
            saved = self.body, self.alternative
            body, orelse = getattr(statement, "body", []), getattr(statement, "orelse", [])
            self.body = self._block(body) if body else []
            self.alternative = self._block(orelse) if orelse else []
            made = self.block(edit.code)
            self.body, self.alternative = saved
        inserts = self.inserts.get(start, ())
        before = [s for i in inserts if not i.after for s in self.block(i.code)]
        after = [s for i in inserts if i.after for s in self.block(i.code)]
        return [*before, *made, *after]

    def _without_items(self, statement: ast.stmt) -> list[ast.stmt]:
        """A statement of which nothing goes but items of a `with`."""
        new = self.of(statement)
        if not isinstance(statement, ast.With) or not isinstance(new, ast.With):
            return [new]
        left = [self.leaves.get(self.module.span(item.context_expr)) for item in statement.items]
        edits = [edit for edit in left if edit is not None]
        if not edits:
            return [new]
        kept = [item for item, edit in zip(new.items, left, strict=True) if edit is None]
        body: list[ast.stmt] = [_copied(new, {"items": kept})] if kept else new.body
        above = [s for e in edits if e.before is not None for s in self.block(e.before)]
        below = [s for e in edits if e.after is not None for s in self.block(e.after)]
        if below and any(edit.guarded for edit in edits):
            return [*above, ast.Try(body, [], [], below)]
        return [*above, *body, *below]

    def _is_elif(self, statement: ast.stmt) -> bool:
        parent = self.module.parents.get(statement)
        return (
            isinstance(statement, ast.If)
            and isinstance(parent, ast.If)
            and parent.orelse == [statement]
            and self.module.lines[statement.lineno - 1].lstrip().startswith("elif")
        )

    # ------------------------------------------------------------------ new code
    def expression(self, part: Part) -> ast.expr:
        """The expression that new code is."""
        if isinstance(part, Code):
            tree = ast.parse(part.parsed.text, mode="eval").body
            return cast(ast.expr, _Filled(self, part).visit(tree))
        if isinstance(part, Kept):
            return self._exchanged(part) if part.instead else self.of(self.kept[part.span])
        if isinstance(part, Literal):
            return ast.parse(part.source, mode="eval").body
        if isinstance(part, Quoted):
            return ast.parse(part.literal(self.spelling.of), mode="eval").body
        assert not isinstance(part, KeptBody)
        return ast.parse(self.spelling.of(part), mode="eval").body

    def _exchanged(self, part: Kept) -> ast.expr:
        """A kept expression with other code in places."""
        others = {id(self.kept[span]): self.expression(code) for span, code in part.instead}
        saved, self.others = self.others, {**self.others, **others}
        made = self.of(self.kept[part.span])
        self.others = saved
        return made

    def block(self, part: Part) -> list[ast.stmt]:
        """The statements that new code is."""
        if isinstance(part, KeptBody):
            return self.alternative if part.alternative else self.body
        if isinstance(part, Code):
            tree = ast.parse(part.parsed.text)
            return cast(ast.Module, _Filled(self, part).visit(tree)).body
        return [ast.Expr(self.expression(part))]


class _Filled(ast.NodeTransformer):
    """The tree of a template with the parts of `code` in the place of its holes."""

    def __init__(self, builder: _Builder, code: Code) -> None:
        self.builder = builder
        filled = dict(code.holes)
        self.holes: dict[str, Hole] = {i: filled[n] for n, i in code.parsed.holes.items()}
        self.builtins = code.parsed.builtins
        self.made: dict[
            int, ast.AST
        ] = {}  # what has been put in, by id: nothing is looked for in it

    def visit(self, node: ast.AST) -> ast.AST:
        """`node` with its holes filled; what has filled one is left alone."""
        return node if id(node) in self.made else cast(ast.AST, super().visit(node))

    def _expression(self, part: Part) -> ast.expr:
        made = _in_context(self.builder.expression(part), ast.Load())
        self.made[id(made)] = made
        return made

    def _hole(self, node: ast.AST | None) -> Hole | None:
        return self.holes.get(node.id) if isinstance(node, ast.Name) else None

    def visit_Name(self, node: ast.Name) -> ast.expr:
        hole = self._hole(node)
        if hole is not None and not isinstance(hole, tuple):
            return _in_context(self._expression(hole), node.ctx)
        if node.id in self.builtins:
            spelled = self.builder.spelling.builtin(node.id)
            return ast.parse(spelled, mode="eval").body
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        arguments = [a for a in node.args if isinstance(self._hole(a), tuple)]
        for argument in arguments:
            index = node.args.index(argument)
            items = cast(tuple[Element, ...], self._hole(argument))
            node.args[index : index + 1] = [
                self._element(i)
                for i in items
                if not isinstance(i, Keyword) and not (isinstance(i, Starred) and i.double)
            ]
            node.keywords += [
                ast.keyword(i.name if isinstance(i, Keyword) else None, self._expression(i.value))
                for i in items
                if isinstance(i, Keyword) or (isinstance(i, Starred) and i.double)
            ]
        return cast(ast.expr, self.generic_visit(node))

    def generic_visit(self, node: ast.AST) -> ast.AST:
        elements = getattr(node, "elts", None)
        if elements is not None:
            node.elts = [  # type: ignore[attr-defined]
                made
                for element in elements
                for made in (
                    [self._element(i) for i in cast(tuple[Element, ...], self._hole(element))]
                    if isinstance(self._hole(element), tuple)
                    else [element]
                )
            ]
        if isinstance(node, ast.Dict):
            self._fill_items(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, self._spliced(value))
        return super().generic_visit(node)

    def _element(self, item: Element) -> ast.expr:
        if isinstance(item, Starred):
            return ast.Starred(self._expression(item.value), ast.Load())
        assert not isinstance(item, Keyword | Item)
        return self._expression(item)

    def _fill_items(self, node: ast.Dict) -> None:
        keys: list[ast.expr | None] = []
        values: list[ast.expr] = []
        for key, value in zip(node.keys, node.values, strict=True):
            hole = self._hole(value)
            if key is not None or not isinstance(hole, tuple):
                keys.append(key)
                values.append(value)
                continue
            for item in hole:
                assert isinstance(item, Item | Starred)
                keys.append(self._expression(item.key) if isinstance(item, Item) else None)
                values.append(self._expression(item.value))
        node.keys, node.values = keys, values

    def _spliced(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in statements:
            hole = self._hole(statement.value) if isinstance(statement, ast.Expr) else None
            if hole is None:
                result.append(statement)
                continue
            for part in hole if isinstance(hole, tuple) else (hole,):
                assert not isinstance(part, Keyword | Starred | Item)
                made = self.builder.block(part)
                self.made.update((id(each), each) for each in made)
                result += made
        return result


def _found(module: Module, spans: set[Span]) -> dict[Span, ast.expr]:
    """The expressions at `spans`: the outermost, where a part has the place of the whole.

    Before Python 3.12 the parts of an f-string say that they are where the string is.
    """
    lines = {span.line for span in spans}
    found: dict[Span, ast.expr] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.expr) and node.lineno in lines:
            span = module.span(node)
            if span in spans:
                found.setdefault(span, node)
    return found


def _copied(node: _Node, changed: Mapping[str, object]) -> _Node:
    fields = {name: getattr(node, name) for name in node._fields if hasattr(node, name)}
    return ast.copy_location(type(node)(**{**fields, **changed}), node)


def _in_context(node: ast.expr, context: ast.expr_context | None) -> ast.expr:
    """`node` as the target of an assignment, or as a value."""
    own = getattr(node, "ctx", None)
    if context is None or own is None or type(own) is type(context):
        return node
    changed: dict[str, object] = {"ctx": context}
    if isinstance(node, ast.Tuple | ast.List):
        changed["elts"] = [_in_context(element, context) for element in node.elts]
    return _copied(node, changed)
