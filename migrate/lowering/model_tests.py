"""Tests of the program's own that ask whether something is an FSDP1 model.

`isinstance(model, FSDP)` is one, and so is `version(model) == 1` where the function `version`
returns 1 for FSDP1's models and for nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.analysis.values import NONE, Atom, Bound, Const, Func, Symbol, Value, Wrapped
from fsdp_migrate.lowering.context_helpers import passed_to
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

DEEP = 8
UNKNOWN, GOES_ON = object(), object()  # what a function returns, where that isn't a constant
EITHER = frozenset({True, False})
Passed = Mapping[str, ast.expr]  # by parameter: what the function around is called with


def truth(
    analysis: Analysis, module: Module, test: ast.expr, passed: Passed | None = None
) -> bool | None:
    """How `test` comes out, in a function that is called with `passed`; None if it depends."""
    answers = _Reader(analysis, module, passed or {}).truth(test)
    return next(iter(answers)) if len(answers) == 1 else None


def model_asked_for(
    analysis: Analysis, module: Module, test: ast.expr, passed: Passed | None = None
) -> ast.expr | None:
    """What `test` asks of, if it holds for FSDP1's models and for nothing else."""
    for call in [node for node in nodes_in(test) if isinstance(node, ast.Call)]:
        for given in call.args:
            model = _base(given, passed or {})
            if path_of(model) is None:
                continue
            answers = [
                _Reader(analysis, module, passed or {}, model, holds).truth(test)
                for holds in (True, False)
            ]
            if answers == [{True}, {False}]:
                return model
    return None


def _base(node: ast.expr, passed: Passed) -> ast.expr:
    for _ in range(DEEP):
        if not isinstance(node, ast.Name) or node.id not in passed:
            break
        node = passed[node.id]
    return node


class _Reader:
    """Reads tests; `model` is taken for one of FSDP1's, or for none, where it is given."""

    def __init__(
        self,
        analysis: Analysis,
        module: Module,
        passed: Passed,
        model: ast.expr | None = None,
        holds: bool = True,
        depth: int = 0,
    ) -> None:
        self.analysis, self.module, self.passed, self.depth = analysis, module, passed, depth
        self.model, self.holds = model, holds

    def truth(self, node: ast.expr) -> frozenset[bool]:
        """How a test can come out."""
        match node:
            case ast.UnaryOp(op=ast.Not()):
                return frozenset(not answer for answer in self.truth(node.operand))
            case ast.BoolOp():
                decides = isinstance(node.op, ast.Or)
                every = [self.truth(part) for part in node.values]
                if any(answers == {decides} for answers in every):
                    return frozenset({decides})
                possible = any(decides in answers for answers in every)
                return EITHER if possible else frozenset({not decides})
            case ast.Compare(left, [ast.Is() | ast.IsNot() as op], [ast.Constant(None)]):
                return self._is_none(left, wanted=isinstance(op, ast.Is))
            case ast.Compare(ast.Call() as left, [ast.Eq() | ast.NotEq() as op], [right]):
                return self._compared(left, right, wanted=isinstance(op, ast.Eq))
            case ast.Call():
                answers = self._called(node)
                return EITHER if UNKNOWN in answers else frozenset(bool(each) for each in answers)
            case ast.Name():
                made = definition(self.module, node)
                value = made.value if made is not None else None
                if value is not None and (known := self.truth(value)) != EITHER:
                    return known
        return _flags(self.analysis.value(_base(node, self.passed)))

    def _is_none(self, node: ast.expr, *, wanted: bool) -> frozenset[bool]:
        value = self.analysis.value(_base(node, self.passed))
        if Symbol(FSDP1) in value or (value and all(isinstance(a, Wrapped) for a in value)):
            return frozenset({not wanted})  # there are models
        return frozenset({wanted}) if value == NONE else EITHER

    def _compared(self, left: ast.Call, right: ast.expr, *, wanted: bool) -> frozenset[bool]:
        """`version(model) == 1`."""
        others = self.analysis.value(_base(right, self.passed))
        other = next(iter(others)) if len(others) == 1 else None
        answers = self._called(left)
        if UNKNOWN in answers or not isinstance(other, Const):
            return EITHER
        return frozenset((answer == other.value) is wanted for answer in answers)

    # ------------------------------------------------------------------ calls
    def _called(self, call: ast.Call) -> frozenset[object]:
        """The constants that a call can give, or UNKNOWN."""
        value = self.analysis.value(call.func)
        if value == {Symbol("builtins.isinstance")} and len(call.args) == 2:
            return frozenset(self._is_instance(*call.args))
        found = {_site(atom) for atom in value}
        site = found.pop() if len(found) == 1 else None
        info = self.analysis.functions.get(site) if site is not None else None
        if info is None or self.depth > DEEP or not isinstance(info.node, ast.FunctionDef):
            return frozenset({UNKNOWN})
        given = passed_to(info.node, call, self.analysis, info.module.site(info.node))
        if given is None or info.node.decorator_list:
            return frozenset({UNKNOWN})
        seen = {name: _base(node, self.passed) for name, node in given.items()}
        inner = _Reader(
            self.analysis, info.module, seen, self.model, self.holds, depth=self.depth + 1
        )
        return frozenset(None if a is GOES_ON else a for a in inner.returned(info.node.body))

    def _is_instance(self, node: ast.expr, classes: ast.expr) -> Iterator[object]:
        asked = classes.elts if isinstance(classes, ast.Tuple) else [classes]
        of_fsdp1 = any(Symbol(FSDP1) in self.analysis.value(each) for each in asked)
        base = _base(node, self.passed)
        value = self.analysis.value(base)
        if self.model is not None and same(base, self.model):
            yield self.holds if of_fsdp1 and (len(asked) == 1 or self.holds) else UNKNOWN
        elif of_fsdp1 and value and all(isinstance(atom, Wrapped) for atom in value):
            yield True
        else:
            yield UNKNOWN

    def returned(self, body: list[ast.stmt]) -> frozenset[object]:
        """What a function can return that goes on with `body`."""
        answers: set[object] = set()
        for statement in body:
            if isinstance(statement, ast.Return):
                return frozenset({*answers, *self._constants(statement.value)})
            if isinstance(statement, ast.If):
                ways = self.truth(statement.test)
                for way in ways:
                    answers |= self.returned(statement.body if way else statement.orelse)
                if GOES_ON not in answers:
                    return frozenset(answers)
                answers -= {GOES_ON}
            elif not isinstance(statement, ast.Expr) or not isinstance(
                statement.value, ast.Constant
            ):
                return frozenset({UNKNOWN})
        return frozenset({*answers, GOES_ON})

    def _constants(self, node: ast.expr | None) -> frozenset[object]:
        if node is None or isinstance(node, ast.Constant):
            return frozenset({node.value if node is not None else None})
        if isinstance(node, ast.Compare | ast.Call | ast.UnaryOp):
            known = self.truth(node)
            return frozenset({UNKNOWN}) if known == EITHER else frozenset(known)
        return frozenset({UNKNOWN})


def _site(atom: Atom) -> Site | None:
    if isinstance(atom, Bound):
        return atom.func.site
    return atom.site if isinstance(atom, Func) else None


def _flags(value: Value) -> frozenset[bool]:
    """What a value can be, where it is nothing but flags."""
    flags = [a.value for a in value if isinstance(a, Const) and isinstance(a.value, bool)]
    return frozenset(flags) if flags and len(flags) == len(value) else EITHER
