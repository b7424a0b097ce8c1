"""Predicates of a module, as `lambda_auto_wrap_policy` takes them: what they ask for."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Cls, Func, Symbol, Value, symbols
from fsdp_migrate.findings.code import Kept, Part, code
from fsdp_migrate.lowering.class_nesting import may_nest
from fsdp_migrate.lowering.condition import UNIT, Condition, named_classes
from fsdp_migrate.syntax.module import Module, scope_nodes
from fsdp_migrate.syntax.nodes import children, nodes_in

ISINSTANCE = Symbol("builtins.isinstance")
# Calls that give a model's own modules without the model itself.
WITHOUT_ROOT = frozenset({"children", "items", "keys", "named_children", "values"})
# Functions that return True or False.
BOOLEANS = frozenset(
    f"builtins.{n}"
    for n in ("all", "any", "bool", "callable", "hasattr", "isinstance", "issubclass")
)
_SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def is_docstring(statement: ast.stmt) -> bool:
    """Whether a statement is a text and nothing else."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def parameter_of(predicate: ast.Lambda) -> str | None:
    """The one parameter of a lambda, or None if it has others."""
    args = predicate.args
    names = [a.arg for a in [*args.posonlyargs, *args.args]]
    if len(names) != 1 or args.defaults or args.vararg or args.kwarg or args.kwonlyargs:
        return None
    return names[0]


def lambda_condition(analysis: Analysis, module: Module, predicate: ast.Lambda) -> Condition | None:
    """The condition that a lambda is, or None where its body can't stand elsewhere."""
    name, body = parameter_of(predicate), predicate.body
    if name is None or any(isinstance(n, ast.NamedExpr | ast.Yield) for n in nodes_in(body)):
        return None
    test = Kept(module.span(body), tuple((module.span(n), UNIT) for n in reads_of(body, name)))
    tests = body.values if isinstance(body, ast.BoolOp) else [body]
    is_or = not isinstance(body, ast.BoolOp) or isinstance(body.op, ast.Or)
    asks = is_or and all(class_test(analysis, item, name) is not None for item in tests)
    return _open(analysis, test, [body], name, is_class_test=asks)


def reads_of(node: ast.AST, name: str) -> Iterator[ast.Name]:
    """Where `node` reads the variable `name` of the scope around it."""
    if isinstance(node, ast.Name):
        if node.id == name:
            yield node
    elif isinstance(node, _SCOPES) and name in _bound(node):
        yield from (read for outer in _outside(node) for read in reads_of(outer, name))
    else:
        for child in children(node):
            yield from reads_of(child, name)


def _bound(scope: ast.AST) -> set[str]:
    """The names that a lambda or a comprehension binds for itself."""
    if isinstance(scope, ast.Lambda):
        return {a.arg for a in nodes_in(scope.args) if isinstance(a, ast.arg)}
    return {
        n.id
        for clause in getattr(scope, "generators", ())
        for n in nodes_in(clause.target)
        if isinstance(n, ast.Name)
    }


def _outside(scope: ast.AST) -> list[ast.expr]:
    """What of a lambda or a comprehension is evaluated in the scope around it."""
    if isinstance(scope, ast.Lambda):
        return [*scope.args.defaults, *(d for d in scope.args.kw_defaults if d is not None)]
    return [clause.iter for clause in getattr(scope, "generators", ())[:1]]


def function_condition(analysis: Analysis, module: Module, predicate: ast.Name) -> Condition:
    """The condition that a function, which is called by its name, tells."""
    test = code("{predicate}({unit})", predicate=Kept(module.span(predicate)), unit=UNIT)
    asked, name = _asked_by(analysis, predicate)
    return _open(analysis, test, asked, name)


def tested_by(analysis: Analysis, test: Part, tests: Sequence[ast.expr], name: str) -> Condition:
    """The condition `test`, which is that one of the `tests` of the module `name` is true."""
    asks = all(class_test(analysis, item, name) is not None for item in tests)
    return _open(analysis, test, tests, name, is_class_test=asks)


def _open(
    analysis: Analysis,
    test: Part,
    tests: Sequence[ast.expr],
    name: str,
    is_class_test: bool = False,
) -> Condition:
    """A condition that holds for modules of the classes asked for only, if those are known."""
    tested = _any_of([_tested(analysis, item, name) for item in tests]) if tests else None
    own, libraries = named_classes(tested or frozenset())
    by_class = not any(isinstance(n, ast.In) for item in tests for n in nodes_in(item))
    nested = not tested or not by_class or may_nest(analysis, own, libraries)
    return Condition(test, nested, own, libraries, open=tested is None, is_class_test=is_class_test)


def _asked_by(analysis: Analysis, node: ast.expr) -> tuple[list[ast.expr], str]:
    """What a predicate of the program returns, if that is all it does, and its parameter."""
    value = analysis.value(node)
    (atom,) = value if len(value) == 1 else (None,)
    info = analysis.functions.get(atom.site) if isinstance(atom, Func) else None
    if info is None or not isinstance(info.node, ast.FunctionDef) or len(info.node.args.args) != 1:
        return [], ""
    body = [s for s in info.node.body if not is_docstring(s)]
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        return [], ""
    return [body[0].value], info.node.args.args[0].arg


def gives_no_arguments(analysis: Analysis, predicate: ast.expr) -> bool:
    """Whether the function of a `CustomPolicy` gives units no arguments of their own, by a dict."""
    value = analysis.value(predicate)
    (atom,) = value if len(value) == 1 else (None,)
    info = analysis.functions.get(atom.site) if isinstance(atom, Func) else None
    if info is None or isinstance(info.node, ast.AsyncFunctionDef) or info.is_generator:
        return False
    if isinstance(info.node, ast.Lambda):
        return _is_bool(analysis, info.node.body)
    returned = [n for n in scope_nodes(info.node) if isinstance(n, ast.Return)]
    return all(n.value is not None and _is_bool(analysis, n.value) for n in returned)


def _is_bool(analysis: Analysis, node: ast.expr) -> bool:
    """Whether an expression surely is True or False."""
    match node:
        case ast.Constant(value=bool()) | ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BoolOp(values=values):
            return all(_is_bool(analysis, value) for value in values)
        case ast.IfExp(body=body, orelse=orelse):
            return _is_bool(analysis, body) and _is_bool(analysis, orelse)
        case ast.Call(func=func):
            names = symbols(analysis.value(func))
            return bool(names) and names <= BOOLEANS
    return False


def _tested(analysis: Analysis, node: ast.expr, name: str) -> Value | None:
    """The classes outside of which a test of the module `name` fails, or None if there may be more.

    Being in a collection, one of the model's own, is nothing that the model itself can be.
    """
    classes = class_test(analysis, node, name)
    if classes is not None:
        return _named(analysis, classes)
    if isinstance(node, ast.BoolOp):
        parts = [_tested(analysis, part, name) for part in node.values]
        return _all_of(parts) if isinstance(node.op, ast.And) else _any_of(parts)
    if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == name:
        below = isinstance(node.ops[0], ast.In) and not _may_hold_root(analysis, node)
        return frozenset() if below else None
    return None


def _named(analysis: Analysis, classes: ast.expr) -> Value | None:
    """The classes that `isinstance` is given, if they are known."""
    items = classes.elts if isinstance(classes, ast.Tuple) else [classes]
    value: Value = frozenset().union(*(analysis.value(item) for item in items))
    return value if value and all(isinstance(a, Cls | Symbol) for a in value) else None


def _all_of(parts: list[Value | None]) -> Value | None:
    """The classes outside of which one of several tests fails."""
    known = [part for part in parts if part is not None]
    return min(known, key=len) if known else None


def _any_of(parts: list[Value | None]) -> Value | None:
    """The classes outside of which all tests fail."""
    known = [part for part in parts if part is not None]
    return frozenset().union(*known) if len(known) == len(parts) else None


def _may_hold_root(analysis: Analysis, test: ast.Compare) -> bool:
    """Whether what a module is looked for in may hold the whole model too."""
    return any(
        isinstance(call, ast.Call)
        and not any(name.startswith("builtins.") for name in symbols(analysis.value(call.func)))
        and not (isinstance(call.func, ast.Attribute) and call.func.attr in WITHOUT_ROOT)
        for call in nodes_in(test.comparators[0])
    )


def class_test(analysis: Analysis, node: ast.expr, name: str) -> ast.expr | None:
    """The classes that `node`, a call of `isinstance`, asks for the variable `name`; or None."""
    if (
        isinstance(node, ast.Call)
        and analysis.value(node.func) == {ISINSTANCE}
        and len(node.args) == 2
        and isinstance(node.args[0], ast.Name)
        and node.args[0].id == name
    ):
        return node.args[1]
    return None
