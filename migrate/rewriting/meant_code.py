"""New code as Python's own tree: templates parsed, and their holes filled."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from fsdp_migrate.findings.code import (
    Code,
    Element,
    Hole,
    Item,
    Kept,
    KeptBody,
    Keyword,
    Literal,
    Name,
    Part,
    Quoted,
    Starred,
    Variable,
)
from fsdp_migrate.findings.spelling import Spelling
from fsdp_migrate.syntax.span import Span

_Node = TypeVar("_Node", bound=ast.AST)
# What becomes of the expression at a place, with other ones instead of some inside of it.
KeptTree = Callable[[Span, Mapping[Span, ast.expr]], ast.expr]


@dataclass(frozen=True)
class Suites:
    """The statements of the compound statement that new code takes the place of."""

    body: Sequence[ast.stmt] = ()
    alternative: Sequence[ast.stmt] = ()


@dataclass(frozen=True)
class MeantCode:
    """Makes the trees of new code for one file; what the code keeps is asked for by its place."""

    spelling: Spelling
    kept: KeptTree

    def expression(self, part: Part) -> ast.expr:
        """The expression that `part` is."""
        if isinstance(part, Code):
            tree = ast.parse(part.parsed.text, mode="eval").body
            return cast(ast.expr, _Filled(self, part, Suites()).visit(tree))
        if isinstance(part, Kept):
            instead = {span: self.expression(other) for span, other in part.instead}
            return self.kept(part.span, instead)
        if isinstance(part, Literal):
            return ast.parse(part.source, mode="eval").body
        if isinstance(part, Quoted):
            return ast.parse(part.literal(self.spelling.of), mode="eval").body
        assert not isinstance(part, KeptBody)
        return ast.parse(self.spelling.of(part), mode="eval").body

    def block(self, part: Part, suites: Suites) -> list[ast.stmt]:
        """The statements that `part` is, in the place of a statement with these suites."""
        if isinstance(part, KeptBody):
            return [*(suites.alternative if part.alternative else suites.body)]
        if isinstance(part, Code):
            tree = ast.parse(part.parsed.text)
            return cast(ast.Module, _Filled(self, part, suites).visit(tree)).body
        return [ast.Expr(self.expression(part))]


class _Filled(ast.NodeTransformer):
    """The tree of a template with the parts of `code` in the place of its holes."""

    def __init__(self, meant: MeantCode, code: Code, suites: Suites) -> None:
        self.meant = meant
        self.suites = suites
        filled = dict(code.holes)
        self.holes: dict[str, Hole] = {i: filled[n] for n, i in code.parsed.holes.items()}
        self.builtins = code.parsed.builtins
        # What has been put in, by id: nothing is looked for in it.
        self.made: dict[int, ast.AST] = {}

    def visit(self, node: ast.AST) -> ast.AST:
        """`node` with its holes filled; what has filled one is left alone."""
        return node if id(node) in self.made else cast(ast.AST, super().visit(node))

    # ------------------------------------------------------------------ single parts
    def _hole(self, node: ast.AST | None) -> Hole | None:
        return self.holes.get(node.id) if isinstance(node, ast.Name) else None

    def _list(self, node: ast.AST | None) -> tuple[Element, ...] | None:
        """What a hole for a list is filled with."""
        hole = self._hole(node)
        return hole if isinstance(hole, tuple) else None

    def _expression(self, part: Part) -> ast.expr:
        made = in_context(self.meant.expression(part), ast.Load())
        self.made[id(made)] = made
        return made

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A hole for a single part, a builtin, or a name of the template's."""
        hole = self._hole(node)
        if hole is not None and not isinstance(hole, tuple):
            return in_context(self._expression(hole), node.ctx)
        if node.id in self.builtins:
            return ast.parse(self.meant.spelling.builtin(node.id), mode="eval").body
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A function of the template, whose name may be a hole."""
        node.name = self._name(node.name)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """A parameter, which may be a hole."""
        node.arg = self._name(node.arg)
        return self.generic_visit(node)

    def _name(self, name: str) -> str:
        hole = self.holes.get(name)
        if hole is None:
            return name
        assert isinstance(hole, Name | Variable)
        return self.meant.spelling.of(hole)

    # ------------------------------------------------------------------ lists
    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Arguments: those by name, and those by `**`, come behind the others."""
        args: list[ast.expr] = []
        for argument in node.args:
            filled = self._list(argument)
            if filled is None:
                args.append(argument)
                continue
            args += [self._element(item) for item in filled if not _is_keyword(item)]
            node.keywords += [self._keyword(item) for item in filled if _is_keyword(item)]
        node.args = args
        return cast(ast.expr, self.generic_visit(node))

    def _keyword(self, item: Element) -> ast.keyword:
        assert isinstance(item, Keyword | Starred)
        name = item.name if isinstance(item, Keyword) else None
        return ast.keyword(name, self._expression(item.value))

    def _element(self, item: Element) -> ast.expr:
        if isinstance(item, Starred):
            return ast.Starred(self._expression(item.value), ast.Load())
        assert not isinstance(item, Keyword | Item)
        return self._expression(item)

    def visit_List(self, node: ast.List) -> ast.expr:
        """A display, with its elements."""
        node.elts = list(self._elements(node.elts))
        return cast(ast.expr, self.generic_visit(node))

    def visit_Tuple(self, node: ast.Tuple) -> ast.expr:
        """A display, with its elements."""
        node.elts = list(self._elements(node.elts))
        return cast(ast.expr, self.generic_visit(node))

    def visit_Set(self, node: ast.Set) -> ast.expr:
        """A display, with its elements."""
        node.elts = list(self._elements(node.elts))
        return cast(ast.expr, self.generic_visit(node))

    def _elements(self, elements: Sequence[ast.expr]) -> Iterator[ast.expr]:
        for element in elements:
            filled = self._list(element)
            if filled is None:
                yield element
            else:
                yield from map(self._element, filled)

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        """A display, with its items: `**` and a hole stand for several of them."""
        keys: list[ast.expr | None] = []
        values: list[ast.expr] = []
        for key, value in zip(node.keys, node.values, strict=True):
            filled = self._list(value) if key is None else None
            if filled is None:
                keys.append(key)
                values.append(value)
            for item in filled or ():
                assert isinstance(item, Item | Starred)
                keys.append(self._expression(item.key) if isinstance(item, Item) else None)
                values.append(self._expression(item.value))
        node.keys, node.values = keys, values
        return cast(ast.expr, self.generic_visit(node))

    # ------------------------------------------------------------------ statements
    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Put in statements where the line of a hole stands among others."""
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, list(self._spliced(value)))
        return super().generic_visit(node)

    def _spliced(self, statements: list[ast.stmt]) -> Iterator[ast.stmt]:
        for statement in statements:
            hole = self._hole(statement.value) if isinstance(statement, ast.Expr) else None
            if hole is None:
                yield statement
                continue
            for part in hole if isinstance(hole, tuple) else (hole,):
                assert not isinstance(part, Keyword | Starred | Item)
                made = self.meant.block(part, self.suites)
                self.made.update((id(each), each) for each in made)
                yield from made


def _is_keyword(item: Element) -> bool:
    return isinstance(item, Keyword) or (isinstance(item, Starred) and item.double)


# ---------------------------------------------------------------------- nodes
def copied(node: _Node, changed: Mapping[str, object]) -> _Node:
    """A copy of `node`, which stays as it is, with other values of some fields."""
    fields = {name: getattr(node, name) for name in node._fields if hasattr(node, name)}
    return ast.copy_location(type(node)(**{**fields, **changed}), node)


def in_context(node: ast.expr, context: ast.expr_context | None) -> ast.expr:
    """`node` as the target of an assignment, or as a value."""
    own = getattr(node, "ctx", None)
    if context is None or own is None or type(own) is type(context):
        return node
    changed: dict[str, object] = {"ctx": context}
    if isinstance(node, ast.Tuple | ast.List):
        changed["elts"] = [in_context(element, context) for element in node.elts]
    return copied(node, changed)
