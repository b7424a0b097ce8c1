"""Lines that new code made too long, broken up as black would.

Line by line: of what begins and ends on a line that is too long and has new code in it, the
outermost call, display, comprehension or conditional expression is broken up, until the lines
fit or there is nothing left to break.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import cast

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

ROUNDS = 16
Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
Display = cst.Dict | cst.List | cst.Set | cst.Tuple
Comprehension = cst.ListComp | cst.SetComp | cst.DictComp | cst.GeneratorExp
Operation = cst.BooleanOperation | cst.BinaryOperation
Breakable = Display | Comprehension | Operation | cst.Call | cst.IfExp
_BREAKABLE = (
    cst.Dict, cst.List, cst.Set, cst.Tuple, cst.ListComp, cst.SetComp, cst.DictComp,
    cst.GeneratorExp, cst.Call, cst.IfExp, cst.BooleanOperation, cst.BinaryOperation,
)  # fmt: skip


def laid_out(statement: Statement, indent: str, room: int, kept: Container[int]) -> Statement:
    """A new statement, and those inside of it, its long calls and displays broken up.

    Statements whose ids are among `kept` are the author's and stay as they are.
    """
    if id(statement) in kept:
        return statement
    if not isinstance(statement, cst.SimpleStatementLine):
        body = getattr(statement, "body", None)
        if not isinstance(body, cst.IndentedBlock):
            return statement
        room -= len(indent)
        inner = [laid_out(cast(Statement, s), indent, room, kept) for s in body.body]
        return statement.with_changes(body=body.with_changes(body=inner))
    value = getattr(statement.body[0], "value", None)
    if not isinstance(value, cst.Call | cst.Dict | cst.Subscript):
        return statement
    bare = statement.with_changes(leading_lines=[])
    fitted = Layout({value}, indent, room, room).fit(bare)
    return fitted.with_changes(leading_lines=statement.leading_lines)


@dataclass
class Layout:
    """How a statement is broken up: `room` characters in a line, that `new` made longer."""

    new: set[cst.CSTNode]
    indent: str
    room: int
    allowed: int  # lines up to this length stay
    _tried: set[str] = field(default_factory=set)
    _loose: set[cst.CSTNode] = field(default_factory=set)  # in no brackets

    def fit(self, statement: cst.SimpleStatementLine) -> cst.SimpleStatementLine:
        """`statement` with its long lines broken up."""
        for _ in range(ROUNDS):
            found = self._next(statement)
            if found is None:
                break
            node, base = found
            self._tried.add(_code(node))
            swap = _Swap(node, self._broken(node, base, node in self._loose), self.new)
            statement = cast(cst.SimpleStatementLine, statement.visit(swap))
        return statement

    def _next(self, statement: cst.SimpleStatementLine) -> tuple[Breakable, str] | None:
        """What to break up next, and the indentation of the line that it is on."""
        lines = _code(statement).splitlines()
        long = [number for number, line in enumerate(lines, 1) if len(line) > self.allowed]
        if not long:
            return None
        module = cst.Module([statement])
        positions = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
        finder = _Finder(self.new)
        statement.visit(finder)
        self._loose = finder.loose
        for number in long:
            line = lines[number - 1]
            for node in finder.found:
                place = positions[node]
                on_line = place.start.line == place.end.line == number
                if on_line and _code(node) not in self._tried and self._helps(node):
                    return node, line[: len(line) - len(line.lstrip())]
        return None

    def _helps(self, node: Breakable) -> bool:
        return not (node in self.new and len(_code(node)) < self.room // 2)

    # ------------------------------------------------------------------ breaking
    def _broken(self, node: Breakable, base: str, loose: bool) -> cst.BaseExpression:
        inner, outer = _line(base + self.indent), _line(base)
        if isinstance(node, cst.Call):
            return self._call(node, base)
        if isinstance(node, cst.IfExp):
            broken = node.with_changes(whitespace_before_if=inner, whitespace_before_else=inner)
            return _in_parentheses(broken, inner, outer)
        if isinstance(node, Operation):
            if node.lpar or loose:
                return _in_parentheses(_operands(node, inner), inner, outer)
            return _operands(node, outer)
        if isinstance(node, Comprehension):
            return _comprehension(node, inner, outer)
        return _display(node, inner, outer)

    def _call(self, call: cst.Call, base: str) -> cst.Call:
        """`call` with its arguments on a line below, or on one each."""
        inner, outer = _line(base + self.indent), _line(base)
        listed = ", ".join(
            _code(a.with_changes(comma=cst.MaybeSentinel.DEFAULT)) for a in call.args
        )
        one_line = len(base + self.indent) + len(listed) <= self.room or len(call.args) == 1
        if one_line:
            args = [*call.args[:-1], _last(call.args[-1], outer)]
        else:
            args = [
                arg.with_changes(comma=cst.Comma(whitespace_after=inner)) for arg in call.args[:-1]
            ]
            args.append(call.args[-1].with_changes(comma=cst.Comma(whitespace_after=outer)))
        return call.with_changes(args=args, whitespace_before_args=inner)


def joined(node: cst.BaseExpression, room: int) -> cst.BaseExpression:
    """`node` on one line, if that takes fewer than `room` characters and loses no comment."""
    text = _code(node)
    line = " ".join(part.strip() for part in text.splitlines())
    if "\n" not in text or "#" in line or len(line) >= room:
        return node
    try:
        same = ast.dump(ast.parse(line, mode="eval")) == ast.dump(
            ast.parse(f"({text})", mode="eval")
        )
    except SyntaxError:
        return node
    return cst.parse_expression(line) if same else node


def _last(arg: cst.Arg, outer: cst.ParenthesizedWhitespace) -> cst.Arg:
    return arg.with_changes(comma=cst.MaybeSentinel.DEFAULT, whitespace_after_arg=outer)


def _line(indentation: str) -> cst.ParenthesizedWhitespace:
    return cst.ParenthesizedWhitespace(indent=True, last_line=cst.SimpleWhitespace(indentation))


def _operands(node: Operation, apart: cst.ParenthesizedWhitespace) -> Operation:
    """`node` with a line for every operand of the same operator."""
    left = node.left
    if isinstance(left, type(node)) and type(left.operator) is type(node.operator):
        if not left.lpar:
            left = _operands(left, apart)
    operator = node.operator.with_changes(whitespace_before=apart)
    return node.with_changes(left=left, operator=operator)


def _in_parentheses(
    node: cst.IfExp | Operation,
    inner: cst.ParenthesizedWhitespace,
    outer: cst.ParenthesizedWhitespace,
) -> cst.BaseExpression:
    return node.with_changes(
        lpar=[cst.LeftParen(whitespace_after=inner)], rpar=[cst.RightParen(whitespace_before=outer)]
    )


def _display(
    node: Display, inner: cst.ParenthesizedWhitespace, outer: cst.ParenthesizedWhitespace
) -> Display:
    last = len(node.elements) - 1
    elements = [
        element.with_changes(
            comma=cst.Comma(
                whitespace_before=cst.SimpleWhitespace(""),
                whitespace_after=inner if i < last else outer,
            )
        )
        for i, element in enumerate(node.elements)
    ]
    opening = _opening(node, inner)
    return node.with_changes(elements=elements, **opening)


def _opening(node: cst.CSTNode, inner: cst.ParenthesizedWhitespace) -> dict[str, object]:
    if isinstance(node, cst.List | cst.ListComp):
        return {"lbracket": cst.LeftSquareBracket(whitespace_after=inner)}
    if isinstance(node, cst.Tuple | cst.GeneratorExp):
        return {"lpar": [cst.LeftParen(whitespace_after=inner)]} if node.lpar else {}
    return {"lbrace": cst.LeftCurlyBrace(whitespace_after=inner)}


def _comprehension(
    node: Comprehension,
    inner: cst.ParenthesizedWhitespace,
    outer: cst.ParenthesizedWhitespace,
) -> Comprehension:
    bare = isinstance(node, cst.GeneratorExp) and not node.lpar
    apart = outer if bare else inner
    closing: dict[str, object] = {}
    if isinstance(node, cst.ListComp):
        closing = {"rbracket": cst.RightSquareBracket(whitespace_before=outer)}
    elif not isinstance(node, cst.GeneratorExp):
        closing = {"rbrace": cst.RightCurlyBrace(whitespace_before=outer)}
    elif not bare:
        closing = {"rpar": [cst.RightParen(whitespace_before=outer)]}
    opening = _opening(node, inner)
    return node.with_changes(for_in=_clause(node.for_in, apart), **opening, **closing)


def _clause(clause: cst.CompFor, apart: cst.ParenthesizedWhitespace) -> cst.CompFor:
    inner = clause.inner_for_in
    return clause.with_changes(
        whitespace_before=apart,
        ifs=[test.with_changes(whitespace_before=apart) for test in clause.ifs],
        inner_for_in=_clause(inner, apart) if inner is not None else None,
    )


class _Finder(cst.CSTVisitor):
    """What can be broken up and has new code in it, outer before inner."""

    def __init__(self, new: set[cst.CSTNode]) -> None:
        super().__init__()
        self.new = new
        self.found: list[Breakable] = []
        self.inside = 0  # of new nodes
        self.brackets = 0
        self.loose: set[cst.CSTNode] = set()

    def visit_FormattedString(self, node: cst.FormattedString) -> bool:
        return False

    def on_visit(self, node: cst.CSTNode) -> bool:
        self.inside += node in self.new
        if isinstance(node, _BREAKABLE) and self._fits(node):
            self.found.append(node)
            if not self.brackets:
                self.loose.add(node)
        self.brackets += _has_brackets(node)
        return super().on_visit(node)

    def on_leave(self, original_node: cst.CSTNode) -> None:
        self.inside -= original_node in self.new
        self.brackets -= _has_brackets(original_node)
        super().on_leave(original_node)

    def _fits(self, node: Breakable) -> bool:
        if isinstance(node, cst.Tuple) and not node.lpar:
            return False
        if isinstance(node, cst.Call):
            return bool(node.args) and (self.inside > 0 or _any_holds(node.args, self.new))
        return self.inside > 0 or holds(node, self.new)


def _has_brackets(node: cst.CSTNode) -> bool:
    bracketed = isinstance(
        node, cst.Arg | cst.Subscript | cst.BaseDict | cst.BaseList | cst.BaseSet
    )
    return bracketed or bool(getattr(node, "lpar", ()))


def _any_holds(nodes: Sequence[cst.CSTNode], wanted: set[cst.CSTNode]) -> bool:
    return any(holds(node, wanted) for node in nodes)


def holds(node: cst.CSTNode, wanted: set[cst.CSTNode]) -> bool:
    """Whether one of the `wanted` is part of `node`."""
    return node in wanted or _any_holds(node.children, wanted)


class _Swap(cst.CSTTransformer):
    """Puts one node in the place of another; nodes that become others stay `new`."""

    def __init__(self, old: cst.CSTNode, made: cst.BaseExpression, new: set[cst.CSTNode]) -> None:
        super().__init__()
        self.old = old
        self.made = made
        self.new = new

    def on_visit(self, node: cst.CSTNode) -> bool:
        return node is not self.old and super().on_visit(node)

    def on_leave(
        self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT
    ) -> cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]:
        result = super().on_leave(original_node, updated_node)
        if original_node is self.old:
            result = cast(cst.CSTNodeT, self.made)
        if original_node in self.new and isinstance(result, cst.CSTNode):
            self.new.add(result)
        return result


def _code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)
