"""What a user's `policy(module, recurse, nonwrapped_numel)` answers, read off its body.

FSDP1 asks it twice of a module: whether to look into it (`recurse=True`), and below that whether
to make it a unit.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fsdp_migrate.lowering.predicates import is_docstring
from fsdp_migrate.syntax.nodes import nodes_in

Function = ast.FunctionDef | ast.Lambda
MODULE, RECURSE, SIZE = "module", "recurse", "nonwrapped_numel"
PASSED = (MODULE, RECURSE, SIZE)  # how FSDP1 calls it, by name
_FALLS = "falls through"
_PLAIN = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Pass, ast.Assert, ast.Import)
_Outcome = bool | str | None  # what is returned, None if that isn't known


@dataclass(frozen=True)
class Question:
    """One of FSDP1's two questions: the parameter that says which, and its value."""

    name: str
    value: bool

    def known(self, test: ast.expr) -> bool | None:
        """Whether an expression is true when this is asked, None if that isn't known."""
        match test:
            case ast.Name(id=name):
                return self.value if name == self.name else None
            case ast.Constant(value=value):
                return bool(value)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.known(operand)
                return None if inner is None else not inner
            case ast.BoolOp(op=op, values=values):
                return self._joined([self.known(v) for v in values], isinstance(op, ast.Or))
            case ast.IfExp(test=asked, body=yes, orelse=no):
                found = self.known(asked)
                sides = {self.known(yes), self.known(no)}
                if found is not None:
                    return self.known(yes if found else no)
                return sides.pop() if len(sides) == 1 else None
            case ast.Compare(left=left, ops=[op], comparators=[ast.Constant(value=bool(value))]):
                found = self.known(left)
                if found is None or not isinstance(op, ast.Is | ast.Eq | ast.IsNot | ast.NotEq):
                    return None
                return (found == value) == isinstance(op, ast.Is | ast.Eq)
        return None

    @staticmethod
    def _joined(parts: list[bool | None], is_or: bool) -> bool | None:
        if is_or in parts:
            return is_or
        return None if None in parts else not is_or

    def rest(self, test: ast.expr) -> tuple[ast.expr, ...]:
        """What is left to ask of `test`, one after the other; nothing if that can't be told."""
        if isinstance(test, ast.IfExp):
            found = self.known(test.test)
            return () if found is None else self.rest(test.body if found else test.orelse)
        if isinstance(test, ast.BoolOp):
            left = tuple(v for v in test.values if self.known(v) is None)
            if len(left) == len(test.values):
                return (test,)
            return left if isinstance(test.op, ast.Or) or len(left) == 1 else ()
        return (test,)


def always_looks(function: Function) -> bool:
    """Whether a policy surely says that FSDP1 is to look into any module."""
    return _outcomes(_body(function), Question(RECURSE, True)) == {True}


def asked_for(function: Function) -> tuple[ast.expr, ...]:
    """The expressions one of which has to be true for a unit, or none if there is more to it."""
    asked = Question(RECURSE, False)
    found: list[ast.expr] = []
    todo: list[ast.stmt] = list(_body(function))
    while todo:
        statement = todo.pop(0)
        if is_docstring(statement) or isinstance(statement, ast.Pass):
            continue
        if isinstance(statement, ast.If):
            known = asked.known(statement.test)
            if known is not None:
                todo = [*(statement.body if known else statement.orelse), *todo]
                continue
            if not _returns_true(statement.body):
                return ()
            found.append(statement.test)
            todo = [*statement.orelse, *todo]
            continue
        if not isinstance(statement, ast.Return) or statement.value is None:
            return ()
        if asked.known(statement.value) is False:
            return tuple(found)
        last = asked.rest(statement.value)
        return (*found, *last) if last else ()
    return ()


def names_in(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """The variables that expressions or statements read."""
    return frozenset(n.id for node in nodes for n in nodes_in(node) if isinstance(n, ast.Name))


def reads_size(function: Function) -> bool:
    """Whether a policy may look at how many parameters are left."""
    args = function.args
    spread = {a.arg for a in (args.vararg, args.kwarg) if a is not None}
    return not names_in(_body(function)).isdisjoint({SIZE, *spread})


def takes_questions(function: Function) -> bool:
    """Whether a policy takes what FSDP1 passes, by the names that it passes it by."""
    args = function.args
    names = {a.arg for a in (*args.args, *args.kwonlyargs)}
    return (args.kwarg is not None or set(PASSED) <= names) and {MODULE, RECURSE} <= names


def _body(function: Function) -> Sequence[ast.stmt]:
    if isinstance(function, ast.Lambda):
        return [ast.Return(function.body)]
    return function.body


def _returns_true(body: Sequence[ast.stmt]) -> bool:
    return _outcomes(body, Question("", False)) == {True}


def _outcomes(body: Sequence[ast.stmt], asked: Question) -> set[_Outcome]:
    """What may be returned, or `_FALLS` where the end is reached."""
    found: set[_Outcome] = set()
    for statement in body:
        if isinstance(statement, ast.Return):
            value = statement.value
            return found | {False if value is None else asked.known(value)}
        if isinstance(statement, ast.Raise):
            return found
        if asked.name in set(_stored(statement)):
            return found | {None}
        if isinstance(statement, ast.If):
            found |= _of_if(statement, asked)
            if _FALLS not in found:
                return found
            found.discard(_FALLS)
        elif not isinstance(statement, _PLAIN):
            found |= (
                {None} if any(isinstance(n, ast.Return) for n in nodes_in(statement)) else set()
            )
    return found | {_FALLS}


def _of_if(statement: ast.If, asked: Question) -> set[_Outcome]:
    known = asked.known(statement.test)
    if known is not None:
        return _outcomes(statement.body if known else statement.orelse, asked)
    return _outcomes(statement.body, asked) | _outcomes(statement.orelse, asked)


def _stored(node: ast.AST) -> Iterator[str]:
    for inner in nodes_in(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id
