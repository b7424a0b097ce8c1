"""Tests that stand under a name, such as `self.is_sharded`: what they ask, and of what.

A property, a method or a function that returns `isinstance(self.model, FSDP)`, a variable or an
attribute that was set to it: where what it asks of hasn't changed since, the name says the same.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from fsdp_migrate.analysis.classes import Classes
from fsdp_migrate.analysis.program import ClassInfo, FunctionInfo
from fsdp_migrate.analysis.values import NONE, Bound, Func, Instance, Value
from fsdp_migrate.syntax.module import Module, Scope, names_bound_by, scope_nodes
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import overlap, path_of, reads
from fsdp_migrate.syntax.span import Site

_PROPERTIES = frozenset({"property", "cached_property"})
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class NamedTest:
    """A test as it is written in `module`, and what its variables stand for where it is used.

    Without `variables` it is written in the function that uses it.
    """

    test: ast.expr
    module: Module
    variables: Mapping[str, ast.expr] | None = None
    is_property: bool = False


@dataclass(frozen=True)
class NamedTests:
    """Finds tests by their names, with what is known of a program."""

    value: Callable[[ast.expr], Value]
    hierarchy: Classes
    functions: Mapping[Site, FunctionInfo]
    classes: Mapping[Site, ClassInfo]

    def find(self, module: Module, scope: Scope, node: ast.expr) -> NamedTest | None:
        """The test that `node`, in the function `scope`, is a name for, if it is one."""
        match node:
            case ast.Name():
                test = _set_once(scope, node)
                return NamedTest(test, module) if test is not None else None
            case ast.Attribute():
                return self._of_object(node)
            case ast.Call():
                return self._called(node)
        return None

    # ------------------------------------------------------------------ attributes
    def _of_object(self, node: ast.Attribute) -> NamedTest | None:
        """A property, or an attribute that is set once."""
        owners = self.value(node.value) - NONE
        classes = {atom.cls for atom in owners if isinstance(atom, Instance)}
        if len(classes) != 1 or len(classes) != len(owners):
            return None
        (cls,) = classes
        method = self.hierarchy.method(cls, node.attr)
        if method is None:
            return self._set_in_class(cls, node)
        info = self.functions[method]
        test = _returned(info) if info.decorators & _PROPERTIES else None
        if test is None or not info.positional:
            return None
        owner = {info.positional[0].arg: node.value}
        return NamedTest(test, info.module, owner, is_property=True)

    def _set_in_class(self, cls: Site, node: ast.Attribute) -> NamedTest | None:
        """What an attribute is set to in one method, what that asks of in no other one."""
        sites = {*self.hierarchy.lineage(cls), *self.hierarchy.kinds(cls)}
        infos = [self.classes[site] for site in sites]
        found = [(i, f, s) for i in infos for f, s in _setters(i, node.attr)]
        if len(found) != 1:
            return None
        info, function, statement = found[0]
        if not _is_lasting(statement.value, function, statement.lineno):
            return None
        first = function.args.args[0].arg
        for path in reads(statement.value):
            root, _, attr = path.partition(".")
            if root == first and any(
                other is not function
                for each in infos
                for other, _ in _setters(each, attr.partition(".")[0])
            ):
                return None
        return NamedTest(statement.value, info.module, {first: node.value})

    # ------------------------------------------------------------------ functions
    def _called(self, call: ast.Call) -> NamedTest | None:
        """A function of the program that returns a test of what it is given."""
        value = self.value(call.func)
        (atom,) = value if len(value) == 1 else (None,)
        func = atom.func if isinstance(atom, Bound) else atom
        if not isinstance(func, Func):
            return None
        info = self.functions[func.site]
        test = _returned(info)
        if test is None or info.decorators - {"staticmethod"}:
            return None
        if any(isinstance(arg, ast.Starred) for arg in call.args):
            return None
        given = list(call.args)
        if isinstance(atom, Bound):
            if not isinstance(call.func, ast.Attribute):
                return None
            given = [call.func.value, *given]
        variables = dict(zip((arg.arg for arg in info.positional), given, strict=False))
        variables |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        return NamedTest(test, info.module, variables)


def _set_once(scope: Scope, node: ast.Name) -> ast.expr | None:
    """What a variable was set to, if only once, and if what that asks of is the same since."""
    made = _tests_set_once(scope).get(node.id)
    if made is None or node.lineno <= made.lineno:
        return None
    return made.value if _is_lasting(made.value, scope, made.lineno) else None


@lru_cache(maxsize=4096)
def _tests_set_once(scope: Scope) -> Mapping[str, ast.Assign]:
    """The variables of a function that may stand for a test, with the statements that set them."""
    nodes = list(scope_nodes(scope))
    count = Counter(name for node in nodes for name in names_bound_by(node))
    return {
        target.id: node
        for node in nodes
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and _is_test(node.value)
        if isinstance(target := node.targets[0], ast.Name) and count[target.id] == 1
    }


def _is_lasting(value: ast.expr, scope: Scope, line: int) -> bool:
    """Whether nothing that `value` reads is bound anew below a line of a function."""
    bound = _last_bound(scope)
    return not any(
        last > line and overlap(path, other)
        for path in reads(value)
        for other, last in bound.get(path.partition(".")[0], {}).items()
    )


@lru_cache(maxsize=4096)
def _last_bound(scope: Scope) -> Mapping[str, Mapping[str, int]]:
    """The last line that each path is bound on in a function, by the variable it begins with."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for node in nodes_in(scope):
        if isinstance(node, ast.Name | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            path = path_of(node)
            if path is not None:
                paths = found[path.partition(".")[0]]
                paths[path] = max(node.lineno, paths.get(path, 0))
    return found


def _setters(info: ClassInfo, attr: str) -> list[tuple[_FUNCTIONS, ast.Assign]]:
    """The statements `self.attr = ...` of a class, each with the method that it stands in."""
    return _stores(info).get(attr, [])


@lru_cache(maxsize=4096)
def _stores(info: ClassInfo) -> dict[str, list[tuple[_FUNCTIONS, ast.Assign]]]:
    """The same for all attributes."""
    found: dict[str, list[tuple[_FUNCTIONS, ast.Assign]]] = defaultdict(list)
    for function in info.node.body:
        if isinstance(function, _FUNCTIONS) and function.args.args:
            first = function.args.args[0].arg
            for statement in nodes_in(function):
                for target in statement.targets if isinstance(statement, ast.Assign) else ():
                    root, _, attr = (path_of(target) or "").partition(".")
                    if root == first and isinstance(statement, ast.Assign):
                        found[attr].append((function, statement))
    return found


@lru_cache(maxsize=4096)
def _returned(info: FunctionInfo) -> ast.expr | None:
    """The test that a function returns, if it does nothing else."""
    if isinstance(info.node, ast.Lambda):
        return info.node.body if _is_test(info.node.body) else None
    body = [s for s in info.node.body if not _is_text(s)]
    last = body[0] if len(body) == 1 else None
    if not isinstance(last, ast.Return) or last.value is None:
        return None
    return last.value if _is_test(last.value) else None


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_test(value: ast.expr) -> bool:
    """Whether an expression asks something, or may be a name for what does."""
    return any(isinstance(n, ast.Attribute | ast.Call | ast.Compare) for n in _operands(value))


def _operands(value: ast.expr) -> Iterator[ast.expr]:
    """What `not`, `and` and `or` join."""
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not):
        yield from _operands(value.operand)
    elif isinstance(value, ast.BoolOp):
        for part in value.values:
            yield from _operands(part)
    else:
        yield value
