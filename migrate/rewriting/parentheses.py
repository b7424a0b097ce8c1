"""Where an expression needs parentheses to stay the expression that it is.

The levels follow the table of operator precedence in Python's reference:
https://docs.python.org/3/reference/expressions.html#operator-precedence
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, cast

import libcst as cst


class Level(IntEnum):
    """How tightly an expression holds together, the loosest first."""

    NAMED = 0  # `x := y`, `yield`, and a generator that only a call's parentheses surround
    TUPLE = 1  # without parentheses of its own
    LAMBDA = 2
    CONDITIONAL = 3
    OR = 4
    AND = 5
    NOT = 6
    COMPARISON = 7
    BIT_OR = 8
    BIT_XOR = 9
    BIT_AND = 10
    SHIFT = 11
    SUM = 12
    PRODUCT = 13
    SIGN = 14
    POWER = 15
    AWAIT = 16
    NUMBER = 17  # a primary, but for a dot behind it
    PRIMARY = 18


_BINARY: Mapping[type[cst.BaseBinaryOp], Level] = {
    cst.BitOr: Level.BIT_OR,
    cst.BitXor: Level.BIT_XOR,
    cst.BitAnd: Level.BIT_AND,
    cst.LeftShift: Level.SHIFT,
    cst.RightShift: Level.SHIFT,
    cst.Add: Level.SUM,
    cst.Subtract: Level.SUM,
    cst.Power: Level.POWER,
}
_LEVELS: Mapping[type[cst.BaseExpression], Level] = {
    cst.NamedExpr: Level.NAMED,
    cst.Yield: Level.NAMED,
    cst.GeneratorExp: Level.NAMED,
    cst.Lambda: Level.LAMBDA,
    cst.IfExp: Level.CONDITIONAL,
    cst.Comparison: Level.COMPARISON,
    cst.Await: Level.AWAIT,
    cst.Integer: Level.NUMBER,
    cst.Float: Level.NUMBER,
}


def level(node: cst.BaseExpression) -> Level:
    """How tightly `node` holds together, its own parentheses included."""
    if node.lpar:
        return Level.PRIMARY
    if isinstance(node, cst.Tuple):
        return Level.TUPLE
    if isinstance(node, cst.BooleanOperation):
        return Level.OR if isinstance(node.operator, cst.Or) else Level.AND
    if isinstance(node, cst.BinaryOperation):
        return _BINARY.get(type(node.operator), Level.PRODUCT)
    if isinstance(node, cst.UnaryOperation):
        return Level.NOT if isinstance(node.operator, cst.Not) else Level.SIGN
    return _LEVELS.get(type(node), Level.PRIMARY)


def parenthesized(node: cst.BaseExpression) -> cst.BaseExpression:
    """`node` between parentheses."""
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


Slots = dict[str, Level]


def _boolean(node: cst.CSTNode) -> Slots:
    """`a and (b and c)` does what `a and b and c` does, and reads worse."""
    own = Level.OR if isinstance(cast(cst.BooleanOperation, node).operator, cst.Or) else Level.AND
    return {"left": own, "right": own}


def _binary(node: cst.CSTNode) -> Slots:
    operator = cast(cst.BinaryOperation, node).operator
    if isinstance(operator, cst.Power):
        return {"left": Level.AWAIT, "right": Level.SIGN}
    own = _BINARY.get(type(operator), Level.PRODUCT)
    return {"left": own, "right": Level(own + 1)}


def _unary(node: cst.CSTNode) -> Slots:
    negation = isinstance(cast(cst.UnaryOperation, node).operator, cst.Not)
    return {"expression": Level.NOT if negation else Level.SIGN}


def _value(least: Level) -> Callable[[cst.CSTNode], Slots]:
    return lambda node: {"value": least}


def _fixed(**slots: Level) -> Callable[[cst.CSTNode], Slots]:
    return lambda node: slots


# What may stand, without parentheses, in the fields of a node.
_SLOTS: Mapping[type[cst.CSTNode], Callable[[cst.CSTNode], Slots]] = {
    cst.Attribute: _fixed(value=Level.PRIMARY),
    cst.Call: _fixed(func=Level.NUMBER),
    cst.Subscript: _fixed(value=Level.NUMBER),
    cst.Await: _fixed(expression=Level.NUMBER),
    cst.BooleanOperation: _boolean,
    cst.BinaryOperation: _binary,
    cst.UnaryOperation: _unary,
    cst.Comparison: _fixed(left=Level.BIT_OR),
    cst.ComparisonTarget: _fixed(comparator=Level.BIT_OR),
    cst.IfExp: _fixed(body=Level.OR, test=Level.OR, orelse=Level.LAMBDA),
    cst.Lambda: _fixed(body=Level.LAMBDA),
    cst.NamedExpr: _value(Level.LAMBDA),
    cst.Arg: _value(Level.LAMBDA),
    cst.Element: _value(Level.LAMBDA),
    cst.DictElement: _fixed(key=Level.LAMBDA, value=Level.LAMBDA),
    cst.StarredElement: _value(Level.BIT_OR),
    cst.StarredDictElement: _value(Level.BIT_OR),
    cst.Index: _value(Level.LAMBDA),
    cst.Slice: _fixed(lower=Level.LAMBDA, upper=Level.LAMBDA, step=Level.LAMBDA),
    cst.CompFor: _fixed(iter=Level.OR),
    cst.CompIf: _fixed(test=Level.OR),
    cst.GeneratorExp: _fixed(elt=Level.LAMBDA),
    cst.ListComp: _fixed(elt=Level.LAMBDA),
    cst.SetComp: _fixed(elt=Level.LAMBDA),
    cst.DictComp: _fixed(key=Level.LAMBDA, value=Level.LAMBDA),
    cst.FormattedStringExpression: _fixed(expression=Level.CONDITIONAL),
    cst.WithItem: _fixed(item=Level.LAMBDA),
    cst.If: _fixed(test=Level.LAMBDA),
    cst.While: _fixed(test=Level.LAMBDA),
    cst.For: _fixed(iter=Level.TUPLE),
    cst.Expr: _value(Level.TUPLE),
    cst.Assign: _value(Level.TUPLE),
    cst.AnnAssign: _value(Level.TUPLE),
    cst.AugAssign: _value(Level.TUPLE),
    cst.Return: _value(Level.TUPLE),
    cst.Assert: _fixed(test=Level.LAMBDA, msg=Level.LAMBDA),
    cst.Raise: _fixed(exc=Level.LAMBDA),
    cst.From: _fixed(item=Level.LAMBDA),
    cst.Param: _fixed(default=Level.LAMBDA),
    cst.Annotation: _fixed(annotation=Level.LAMBDA),
    cst.Decorator: _fixed(decorator=Level.LAMBDA),
    cst.Del: _fixed(target=Level.TUPLE),
}


def held_together(
    parent: cst.CSTNode, replaced: Callable[[cst.BaseExpression], bool]
) -> cst.CSTNode:
    """`parent` with parentheses around those of its expressions, if `replaced`, that need them."""
    slots = _SLOTS.get(type(parent))
    if slots is None:
        return parent
    changes: dict[str, Any] = {}
    for field, least in slots(parent).items():
        child = getattr(parent, field)
        if isinstance(child, cst.BaseExpression) and replaced(child) and level(child) < least:
            if not _is_sole_generator(parent, child):
                changes[field] = parenthesized(child)
    if isinstance(parent, cst.FormattedStringExpression):
        if replaced(parent.expression) and _opens_with_brace(parent):
            changes["whitespace_before_expression"] = cst.SimpleWhitespace(" ")
    return parent.with_changes(**changes) if changes else parent


def _opens_with_brace(node: cst.FormattedStringExpression) -> bool:
    """Whether it would begin with `{{`, which stands for a brace in an f-string."""
    return cst.Module([]).code_for_node(node).startswith("{{")


def _is_sole_generator(parent: cst.CSTNode, child: cst.BaseExpression) -> bool:
    """A generator that is given between the parentheses of a call; `Call` looks at the others.

    Behind a star it needs its own: `f(*a for a in x)` is no Python.
    """
    bare = isinstance(parent, cst.Arg) and not parent.star
    return bare and isinstance(child, cst.GeneratorExp)


def generators_apart(call: cst.Call) -> cst.Call:
    """`call` with parentheses around generators that are not its only argument, or have a name."""
    if len(call.args) < 2 and not any(arg.keyword for arg in call.args):
        return call
    args = [
        arg.with_changes(value=parenthesized(arg.value))
        if isinstance(arg.value, cst.GeneratorExp) and not arg.value.lpar
        else arg
        for arg in call.args
    ]
    return call.with_changes(args=args)
