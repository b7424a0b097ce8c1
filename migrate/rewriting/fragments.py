"""New code as LibCST's nodes: templates parsed, holes filled, parentheses where they are needed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import libcst as cst

from fsdp_migrate.findings.code import (
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
from fsdp_migrate.findings.spelling import Spelling
from fsdp_migrate.rewriting.line_breaks import joined
from fsdp_migrate.rewriting.parentheses import generators_apart, held_together, parenthesized
from fsdp_migrate.syntax.span import Span

Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
_Node = TypeVar("_Node", bound=cst.CSTNode)
# Within these an expression may go on over several lines.
_BRACKETED = (cst.Arg, cst.BaseElement, cst.BaseDictElement, cst.SubscriptElement)


@dataclass(frozen=True)
class Fragments:
    """Makes nodes of new code for one file; what the code keeps is asked for by its place."""

    config: cst.PartialParserConfig
    spelling: Spelling
    kept: Callable[[Span], cst.BaseExpression]
    quote: str = '"'  # around new strings, where they have no such quote themselves
    width: int = 100

    def expression(self, part: Part) -> cst.BaseExpression:
        """The expression that `part` is."""
        if isinstance(part, Code):
            filled = self._filled(part, cst.parse_expression(part.parsed.text, self.config), [])
            return cast(cst.BaseExpression, filled)
        if isinstance(part, Kept):
            return self._kept(part)
        if isinstance(part, Literal):
            return self._literal(part)
        if isinstance(part, Quoted):
            return cst.SimpleString(part.literal(self.spelling.of))
        if isinstance(part, KeptBody):
            raise TypeError("the body of a statement is no expression")
        return cst.parse_expression(self.spelling.of(part), self.config)

    def _literal(self, literal: Literal) -> cst.BaseExpression:
        source = literal.source
        if isinstance(literal.value, str) and source == f'"{literal.value}"':
            if self.quote not in literal.value:
                source = f"{self.quote}{literal.value}{self.quote}"
        return cst.parse_expression(source, self.config)

    def _kept(self, part: Kept) -> cst.BaseExpression:
        node = self.kept(part.span)
        if not part.instead:
            return node
        others = {id(self.kept(span)): self.expression(other) for span, other in part.instead}
        made = cast(cst.BaseExpression, node.visit(_Exchange(others)))
        # It goes somewhere else: whether it needs parentheses is another question there.
        return joined(made.with_changes(lpar=[], rpar=[]), self.width - 8)

    def statements(self, part: Part, body: Sequence[cst.BaseStatement] = ()) -> list[Statement]:
        """The statements that `part` is; `body` are those of the statement that it replaces."""
        if isinstance(part, KeptBody):
            return cast(list[Statement], list(body))
        if not isinstance(part, Code):
            return [cst.SimpleStatementLine([cst.Expr(self.expression(part))])]
        module = cst.parse_module(part.parsed.text + "\n", self.config)
        filled = cast(cst.Module, self._filled(part, module, body))
        made = cast(list[Statement], list(filled.body))
        if filled.header and made:
            lines = [*filled.header, *made[0].leading_lines]
            made[0] = made[0].with_changes(leading_lines=lines)
        return made

    def _filled(
        self, code: Code, node: cst.CSTNode, body: Sequence[cst.BaseStatement]
    ) -> cst.CSTNode:
        return cast(cst.CSTNode, node.visit(_Fill(self, code, body)))


class _Fill(cst.CSTTransformer):
    """Puts the parts of `code` in the place of its placeholders."""

    def __init__(self, fragments: Fragments, code: Code, body: Sequence[cst.BaseStatement]) -> None:
        super().__init__()
        self.fragments = fragments
        self.body = body
        filled = dict(code.holes)
        self.holes: dict[str, Hole] = {
            identifier: filled[name] for name, identifier in code.parsed.holes.items()
        }
        self.builtins = code.parsed.builtins
        self.made: set[int] = set()  # ids of what has taken the place of a hole
        self.alive: list[cst.CSTNode] = []  # so that their ids stay theirs
        self.brackets = 0

    # ------------------------------------------------------------------ what a hole is filled with
    def _hole(self, node: cst.CSTNode | None) -> Hole | None:
        return self.holes.get(node.value) if isinstance(node, cst.Name) else None

    def _part(self, part: Part) -> cst.BaseExpression:
        made = self.fragments.expression(part)
        if id(made) in self.made:
            made = made.deep_clone()
        if not self.brackets and goes_on(made):
            made = parenthesized(made)
        self.made.add(id(made))
        self.alive.append(made)
        return made

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        hole = self._hole(original_node)
        if isinstance(hole, tuple):
            return updated_node  # the list that it stands in takes it
        if hole is not None:
            return updated_node if isinstance(hole, KeptBody) else self._part(hole)
        if original_node.value in self.builtins:
            spelled = self.fragments.spelling.builtin(original_node.value)
            if spelled != original_node.value:
                return cst.parse_expression(spelled, self.fragments.config)
        return updated_node

    def leave_Arg(
        self, original_node: cst.Arg, updated_node: cst.Arg
    ) -> cst.Arg | cst.FlattenSentinel[cst.Arg]:
        hole = self._hole(original_node.value)
        if isinstance(hole, tuple):
            return cst.FlattenSentinel([self._argument(item) for item in hole])
        return updated_node

    def _argument(self, item: Element) -> cst.Arg:
        if isinstance(item, Keyword):
            return self._held(
                cst.Arg(
                    self._part(item.value),
                    cst.Name(item.name),
                    equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
                )
            )
        if isinstance(item, Starred):
            return self._held(cst.Arg(self._part(item.value), star="**" if item.double else "*"))
        assert not isinstance(item, Item)
        return self._held(cst.Arg(self._part(item)))

    def leave_Element(
        self, original_node: cst.Element, updated_node: cst.Element
    ) -> cst.BaseElement | cst.FlattenSentinel[cst.BaseElement]:
        hole = self._hole(original_node.value)
        if isinstance(hole, tuple):
            return cst.FlattenSentinel([self._element(item) for item in hole])
        return updated_node

    def _element(self, item: Element) -> cst.BaseElement:
        if isinstance(item, Starred):
            return self._held(cst.StarredElement(self._part(item.value)))
        assert not isinstance(item, Keyword | Item)
        return self._held(cst.Element(self._part(item)))

    def leave_StarredDictElement(
        self, original_node: cst.StarredDictElement, updated_node: cst.StarredDictElement
    ) -> cst.BaseDictElement | cst.FlattenSentinel[cst.BaseDictElement]:
        hole = self._hole(original_node.value)
        if isinstance(hole, tuple):
            return cst.FlattenSentinel([self._item(item) for item in hole])
        return updated_node

    def _item(self, item: Element) -> cst.BaseDictElement:
        if isinstance(item, Item):
            return self._held(cst.DictElement(self._part(item.key), self._part(item.value)))
        assert isinstance(item, Starred)
        return self._held(cst.StarredDictElement(self._part(item.value)))

    # ------------------------------------------------------------------ around a hole
    def on_visit(self, node: cst.CSTNode) -> bool:
        self.brackets += has_brackets(node)
        return super().on_visit(node)

    def on_leave(
        self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT
    ) -> cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]:
        result = super().on_leave(original_node, updated_node)
        self.brackets -= has_brackets(original_node)
        if isinstance(result, cst.CSTNode) and id(result) not in self.made:
            return self._held(result)
        return result

    def _held(self, node: _Node) -> _Node:
        """`node` with parentheses around what has been put into it, where it needs them."""
        return cast(_Node, held_together(node, lambda child: id(child) in self.made))

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        if any(isinstance(self._hole(arg.value), tuple) for arg in original_node.args):
            bare = [arg.with_changes(comma=cst.MaybeSentinel.DEFAULT) for arg in updated_node.args]
            updated_node = updated_node.with_changes(args=bare)
        return generators_apart(updated_node)

    # ------------------------------------------------------------------ statements
    def visit_SimpleStatementLine(self, node: cst.SimpleStatementLine) -> bool:
        return self._statement_hole(node) is None

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        return updated_node.with_changes(body=list(self._spliced(updated_node.body)))

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        return updated_node.with_changes(body=list(self._spliced(updated_node.body)), indent=None)

    def _statement_hole(self, statement: cst.BaseStatement) -> Hole | None:
        """What fills a hole that has a line of its own."""
        if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
            small = statement.body[0]
            return self._hole(small.value) if isinstance(small, cst.Expr) else None
        return None

    def _spliced(self, statements: Sequence[cst.BaseStatement]) -> Iterator[cst.BaseStatement]:
        for statement in statements:
            hole = self._statement_hole(statement)
            if hole is None:
                yield statement
                continue
            parts = hole if isinstance(hole, tuple) else (hole,)
            made = [s for p in parts for s in self.fragments.statements(_plain(p), self.body)]
            above = list(cast(Statement, statement).leading_lines)
            if above and made:
                made[0] = made[0].with_changes(leading_lines=[*above, *made[0].leading_lines])
            yield from made


class _Exchange(cst.CSTTransformer):
    """Puts other nodes in the place of some, which are given by their identity."""

    def __init__(self, others: Mapping[int, cst.BaseExpression]) -> None:
        super().__init__()
        self.others = others
        self.made: list[cst.CSTNode] = []

    def on_leave(
        self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT
    ) -> cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]:
        other = self.others.get(id(original_node))
        if other is None:
            made = held_together(updated_node, lambda child: any(child is m for m in self.made))
            return cast(cst.CSTNodeT, made)
        self.made.append(other.deep_clone())
        return cast(cst.CSTNodeT, self.made[-1])


def _plain(element: Element) -> Part:
    if isinstance(element, Keyword | Starred | Item):
        raise TypeError(f"{element} is no statement")
    return element


def has_brackets(node: cst.CSTNode) -> bool:
    """Whether an expression within `node` may go on over several lines."""
    return isinstance(node, _BRACKETED) or bool(getattr(node, "lpar", ()))


def goes_on(node: cst.BaseExpression) -> bool:
    """Whether only brackets around `node` hold its lines together."""
    text = cst.Module([]).code_for_node(node)
    if "\n" not in text:
        return False
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return True
    return False


def requoted(node: cst.BaseExpression, taken: str) -> cst.BaseExpression:
    """`node` for use inside an f-string with the quotes `taken` (before Python 3.12)."""
    return cast(cst.BaseExpression, node.visit(_Requote(taken)))


class _Requote(cst.CSTTransformer):
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
